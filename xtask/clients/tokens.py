"""Keys, and tokens that were tampered with in one way each, by the kind of mutation."""

import base64
import hashlib
import hmac
import json
import string

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from joserfc.jwk import ECKey, OKPKey, RSAKey

ISSUER = "https://id.example"
AUDIENCE = "shop"
# The order of the group of P-256.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def bytes_of(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims(now):
    """Those of a good token."""
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "nbf": now, "iat": now}


def pkcs1(digest):
    return lambda key, text: key.sign(text, padding.PKCS1v15(), digest)


def pss(digest):
    return lambda key, text: key.sign(text, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)


def der(key, text):
    return key.sign(text, ec.ECDSA(hashes.SHA256()))


def pair(key, text):
    return numbers(*utils.decode_dss_signature(der(key, text)))


def numbers(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def turned(key, text):
    """The other signature that is good for the same text."""
    r, s = utils.decode_dss_signature(der(key, text))
    return numbers(r, ORDER - s)


def edwards(key, text):
    return key.sign(text)


# How each kind of key can sign.
WAYS = {
    "RSA": {
        **{f"RS{size}": pkcs1(getattr(hashes, f"SHA{size}")()) for size in (256, 384, 512)},
        **{f"PS{size}": pss(getattr(hashes, f"SHA{size}")()) for size in (256, 384, 512)},
    },
    "EC": {"ES256": pair},
    "OKP": {"EdDSA": edwards, "Ed25519": edwards},
}


class Key:
    """A key that signs with one algorithm, unless it is told another one."""

    def __init__(self, alg, own, more=None):
        self.alg, self.kid, self.own, self.more = alg, alg.lower(), own, more or {}
        self.secret = own.private_key

    def published(self):
        return {**self.own.as_dict(private=False), "kid": self.kid, **self.more}

    def ways(self):
        return WAYS[self.own.key_type]

    def sign(self, text, alg=None):
        return self.ways()[alg or self.alg](self.secret, text.encode("latin-1"))

    def public_spellings(self):
        """What somebody may take for a secret who takes the public key for one."""
        public, jwk = self.secret.public_key(), self.own.as_dict(private=False)
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
            yield public.public_bytes(encoding, info)
        yield json.dumps(self.published()).encode()
        yield bytes_of(jwk.get("n") or jwk["x"])
        yield b""


def one_of_each():
    """New keys. Some of them say what they are for."""
    return [
        Key("RS256", RSAKey.generate_key(2048)),
        Key("PS256", RSAKey.generate_key(2048), {"alg": "PS256"}),
        Key("ES256", ECKey.generate_key("P-256"), {"use": "sig"}),
        Key("EdDSA", OKPKey.generate_key("Ed25519")),
    ]


class Keys:
    """Those that are published, and those of somebody else, who gives them the same names."""

    def __init__(self):
        self.known, self.strange = one_of_each(), one_of_each()

    def published(self):
        return {"keys": [key.published() for key in self.known]}


class Raw(str):
    """JSON as it will stand there."""


def written(value):
    return value if isinstance(value, Raw) else json.dumps(value, separators=(",", ":"))


def object_of(members):
    return "{%s}" % ",".join(f"{written(name)}:{written(value)}" for name, value in members)


class Draft:
    """A token before it is signed: members, of which two may have one name."""

    def __init__(self, keys, now, choose):
        self.keys, self.now, self.choose = keys, now, choose
        self.key = key = choose.choice(keys.known)
        self.header = [("alg", key.alg), ("kid", key.kid), ("typ", choose.choice(["JWT", "at+jwt"]))]
        self.claims = list(claims(now).items())

    def texts(self):
        """Header and claims."""
        return [object_of(self.header), object_of(self.claims)]

    def parts(self):
        """The three parts, signed well."""
        header, payload = (base64url(text.encode()) for text in self.texts())
        return self.signed(header, payload)

    def signed(self, header, payload, alg=None):
        return [header, payload, base64url(self.key.sign(f"{header}.{payload}", alg))]

    def with_header(self, **members):
        self.header = list({**dict(self.header), **members}.items())
        return self

    def tamper(self, members, name, values):
        """Changes, adds, doubles or takes away a member."""
        at = next((at for at, (own, _) in enumerate(members) if own == name), None)
        value = self.choose.choice(values)
        how = self.choose.choice(["change", "change", "change", "double before", "double behind", "remove"])
        if at is None:
            members.insert(self.choose.randrange(len(members) + 1), (name, value))
        elif how == "change":
            members[at] = (name, value)
        elif how == "remove":
            del members[at]
        else:
            # Some spell one of them in another way.
            name = self.choose.choice([name, name, Raw('"\\u%04x%s"' % (ord(name[0]), name[1:]))])
            members.insert(at + (how == "double behind"), (name, value))
        return ".".join(self.parts())


# Values of every type.
STRANGE = [None, True, False, 0, 1, -1, 0.5, "", " ", "x", [], {}, [None], [1], {"a": 1}]
STRANGE += [Raw("1e400"), Raw("NaN"), Raw("[" * 200 + "]" * 200)]
ALGS = ["none", "None", "", "RS256", "rs256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519", "Ed448", "HS256"]
ALGS += ["RS512", "PS384", ["RS256"]]
KIDS = ["rs256", "ps256", "es256", "eddsa", "RS256", "other", "../../dev/null", "' or 1=1", "rs256\u0000", "k" * 3_000]
TYPES = ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", "logout+jwt", "JWS"]


def member_of_header(name, values):
    """Values of a member, or a function that makes them of the draft."""
    return lambda draft: draft.tamper(draft.header, name, values(draft) if callable(values) else values + STRANGE)


def key_that_comes_along(draft):
    """It has signed the token, and it is the right one or another one."""
    draft.key = draft.choose.choice([draft.key, key_of_a_stranger(draft)])
    return [draft.key.published()] * len(STRANGE) + STRANGE


def key_of_a_stranger(draft):
    """A key for the same algorithm that nobody trusts, under the same name."""
    return next(key for key in draft.keys.strange if key.alg == draft.key.alg)


def claim(name, values):
    """The same for claims, where it always is a function."""
    return lambda draft: draft.tamper(draft.claims, name, values(draft) + STRANGE)


def text_like(text):
    near = [text + "/", text.upper(), text[:-1], " " + text, "other"]
    lists = [[text], [text, "other"], ["other", text], [text, 1], [[text]], {text: True}]
    return lambda draft: [text, *near, *lists]


def time_like(draft):
    edges = [-601, -31, -30, -29, -1, 0, 1, 29, 30, 31, 32, 601]
    times = [draft.now + edge for edge in edges] * 3
    times += [2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30, Raw("1e300")]
    later = draft.now + 600
    return times + [str(later), [later], later + 0.5, draft.now - 29.5, Raw(f"{later}.0"), Raw(f"{later}e0")]


def flipped(data, choose):
    """One to three bits of it."""
    data = bytearray(data)
    for _ in range(choose.randint(1, 3)):
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return bytes(data)


def characters(draft):
    token = ".".join(draft.parts())
    while True:
        tampered = flipped(token.encode(), draft.choose).decode("latin-1")
        # Others cannot stand in a header of HTTP.
        if all(char == "\t" or " " <= char != "\x7f" for char in tampered):
            return tampered


def bits(draft):
    parts = draft.parts()
    at = draft.choose.randrange(3)
    parts[at] = base64url(flipped(bytes_of(parts[at]), draft.choose))
    return ".".join(parts)


def bits_signed_again(draft):
    texts = [text.encode() for text in draft.texts()]
    at = draft.choose.randrange(2)
    texts[at] = flipped(texts[at], draft.choose)
    return ".".join(draft.signed(*map(base64url, texts)))


def parts(draft):
    parts = draft.parts()
    other = Draft(draft.keys, draft.now + 1, draft.choose).parts()
    at = draft.choose.randrange(3)
    tampered = [
        parts[:at] + parts[at + 1 :],
        parts[:at] + [parts[at]] + parts[at:],
        parts[:at] + [""] + parts[at + 1 :],
        parts[:at] + [""] + parts[at:],
        parts[:at] + [other[at]] + parts[at + 1 :],
        parts + [""],
        parts + parts,
        parts[::-1],
        draft.choose.sample(parts, 3),
        parts[at : at + 1],
        ["", "", ""],
    ]
    return ".".join(draft.choose.choice(tampered))


def spelling(draft):
    """Base64 in another spelling, signed as it is or as it should be."""
    # Long enough for the characters that have two spellings.
    draft.claims.append(("name", "?>~\u00ff" * 5))
    parts = draft.parts()
    at, choose = draft.choose.randrange(3), draft.choose
    text = parts[at]
    middle = choose.randrange(len(text))
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    # What the last character says beyond whole bytes.
    last = alphabet[alphabet.index(text[-1]) ^ 1]
    parts[at] = choose.choice([
        text + "=" * (-len(text) % 4 or 4),
        text + "=",
        text.replace("-", "+").replace("_", "/"),
        text[:middle] + choose.choice([" ", "\t", "=", "+", "/", "%20", "\u00e9"]) + text[middle:],
        choose.choice([" ", "\t"]) + text,
        text + choose.choice([" ", "  ", "\t", "A", "."]),
        text[:-1] + last,
        text[:-1],
    ])
    if at < 2 and choose.random() < 0.7:
        parts = draft.signed(parts[0], parts[1])
    return ".".join(parts)


def other_algorithm(draft):
    """The header says one algorithm, the signature is of another one, or of the same that is not the key's."""
    says, signs = (draft.choose.choice(list(draft.key.ways())) for _ in range(2))
    if draft.choose.random() < 0.5:
        signs = says
    header, payload, _ = draft.with_header(alg=says).parts()
    return ".".join(draft.signed(header, payload, signs))


def other_key(draft):
    """The signature is of somebody else's key, or of another one of ours."""
    draft.key = draft.choose.choice([key_of_a_stranger(draft), *draft.keys.known])
    if draft.choose.random() < 0.5:
        draft.with_header(alg=draft.key.alg)
    return ".".join(draft.parts())


def other_signature(draft):
    header, payload, signature = draft.parts()
    data, text = bytes_of(signature), f"{header}.{payload}".encode()
    shapes = [b"", data[:-1], data + b"\0", b"\0" + data, data[::-1], data + data, text]
    shapes += [bytes(len(data)), b"\xff" * len(data)]
    if draft.key.alg == "ES256":
        secret = draft.key.secret
        shapes += [der(secret, text), turned(secret, text), numbers(ORDER, ORDER), numbers(1, 0)] * 3
    return f"{header}.{payload}.{base64url(draft.choose.choice(shapes))}"


def nothing_signed(draft):
    draft.with_header(alg=draft.choose.choice(["none", "None", "nONE", "NONE", "none ", ""]))
    header, payload, signature = draft.parts()
    return f"{header}.{payload}.{draft.choose.choice(['', signature])}"


def public_key_as_secret(draft):
    size = draft.choose.choice([256, 256, 384, 512])
    header, payload, _ = draft.with_header(alg=f"HS{size}").parts()
    secret = draft.choose.choice(list(draft.key.public_spellings()))
    digest = hmac.digest(secret, f"{header}.{payload}".encode(), getattr(hashlib, f"sha{size}"))
    return f"{header}.{payload}.{base64url(digest)}"


def nested(draft):
    inner = ".".join(draft.parts())
    if draft.choose.random() < 0.5:
        draft.with_header(cty=draft.choose.choice(["JWT", "jwt", "application/jwt", "x"]))
    payload = draft.choose.choice([inner, json.dumps(inner), base64url(draft.texts()[1].encode()), draft.texts()[1]])
    header = base64url(draft.texts()[0].encode())
    return ".".join(draft.signed(header, base64url(payload.encode())))


def json_serialization(draft):
    header, payload, signature = draft.parts()
    one = {"protected": header, "signature": signature}
    shapes = [{"payload": payload, **one}, {"payload": payload, "signatures": [one]}, [header, payload, signature]]
    text = json.dumps(draft.choose.choice(shapes))
    return draft.choose.choice([text, base64url(text.encode()), f"{base64url(text.encode())}.{payload}.{signature}"])


def size(draft):
    draft.claims.append(("more", "x" * draft.choose.choice([100, 1_000, 5_000, 5_700, 6_000, 8_000])))
    return ".".join(draft.parts())


MUTATIONS = {
    "characters": characters,
    "bits": bits,
    "bits, signed again": bits_signed_again,
    "parts": parts,
    "header alg": member_of_header("alg", ALGS),
    "header kid": member_of_header("kid", KIDS),
    "header typ": member_of_header("typ", TYPES),
    "header crit": member_of_header("crit", [["exp"], ["alg"], ["b64"], ["b64", "b64"], ["x"], "exp"]),
    "header b64": member_of_header("b64", [True, False, "false"]),
    "header jwk": member_of_header("jwk", key_that_comes_along),
    "header jku": member_of_header("jku", ["http://127.0.0.1:1/jwks", "https://id.example/jwks", "file:keys.json"]),
    "header cty": member_of_header("cty", ["JWT", "application/jwt", "json"]),
    "header zip": member_of_header("zip", ["DEF", "none"]),
    "header enc": member_of_header("enc", ["A128GCM"]),
    "claim iss": claim("iss", text_like(ISSUER)),
    "claim aud": claim("aud", text_like(AUDIENCE)),
    "claim sub": claim("sub", text_like("ada")),
    "claim exp": claim("exp", time_like),
    "claim nbf": claim("nbf", time_like),
    "claim iat": claim("iat", time_like),
    "base64": spelling,
    "other algorithm": other_algorithm,
    "other signature": other_signature,
    "other key": other_key,
    "nothing signed": nothing_signed,
    "public key as secret": public_key_as_secret,
    "nested": nested,
    "JSON serialization": json_serialization,
    "size": size,
}


def mutated(kind, keys, choose):
    """Makes a token of this kind when it is told the time."""
    return lambda now: MUTATIONS[kind](Draft(keys, now, choose))
