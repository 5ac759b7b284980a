"""Calls through the gateway with tokens of the npm package `oidc-provider`, whose keys change, and which is away for a while.

The arguments are the program of the gateway, the directory where Node.js finds its packages, and one for what is written on
the way.
"""

import asyncio
import base64
import collections
import contextlib
import hashlib
import json
import pathlib
import socket
import sys
import time
import urllib.parse
import urllib.request
import uuid

from checks import PATIENCE, expect, run
from gateway import gateway, running
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

PROGRAM, NODE, DIR = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
SCRIPT = pathlib.Path(__file__).with_name("oidc.mjs")
ISSUER, AUDIENCE = "https://id.example", "shop"
# The gateway fetches keys every second. After so many seconds it must know those that are published.
KNOWN_AFTER = 3


def rsa(kid):
    return {**RSAKey.generate_key(2048).as_dict(private=True), "kid": kid, "alg": "RS256", "use": "sig"}


def elliptic(kid):
    return {**ECKey.generate_key("P-256").as_dict(private=True), "kid": kid, "alg": "ES256", "use": "sig"}


class Provider:
    """It is there while a block of `with_keys` runs, always at the same port."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as place:
            self.port = place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def with_keys(self, *keys):
        file = DIR / "oidc-keys.json"
        file.write_text(json.dumps({"keys": keys}))
        command = ["node", SCRIPT, str(self.port), file, ISSUER, AUDIENCE]
        async with running(command, DIR / "oidc-provider.log", ["listening"], cwd=NODE):
            yield

    async def token(self, key, proof=None):
        """A token that this key has signed; bound to the key of the proof, if there is one."""
        return await self.token_for(f"urn:{key['kid']}", proof)

    async def opaque_token(self, proof=None):
        """The same, which nobody but the provider can read."""
        return await self.token_for("urn:opaque", proof)

    async def token_for(self, resource, proof):
        asked = {"grant_type": "client_credentials", "resource": resource, "scope": "read"}
        return json.loads(await self.post("token", asked, proof))["access_token"]

    async def revoke(self, token):
        await self.post("token/revocation", {"token": token})

    async def post(self, path, values, proof=None):
        client = {"client_id": "machine", "client_secret": "known to nobody else"}
        form = urllib.parse.urlencode(client | values).encode()
        request = urllib.request.Request(f"{self.url}/{path}", form, {"DPoP": proof} if proof else {})
        # Not through a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer = await asyncio.to_thread(opener.open, request, timeout=PATIENCE)
        return answer.read()

    def gateway(self):
        values = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": f"{self.url}/jwks"}
        values["INTROSPECT"] = f"{self.url}/token/introspection"
        return gateway(PROGRAM, "oidc.toml", DIR / "oidc-gateway.log", **values)


async def becomes(status, client, token, passing):
    """Asks until the status is this one; until then it is the one that passes."""
    since = time.monotonic()
    while (got := (await ask(client, token))[0]) != status:
        expect(f"the status before it is {status}", got, passing)
        expect(f"whether it is {status} in time", time.monotonic() - since < PATIENCE, True)
        await asyncio.sleep(0.02)
    return time.monotonic() - since


async def ask(client, token, proof=None):
    # The back end runs in this thread.
    return await asyncio.to_thread(client.ask, token, proof)


async def tokens_say_who_calls():
    """The back end hears whose token it is, of either algorithm, and does not see the token."""
    provider, keys = Provider(), [rsa("rsa"), elliptic("elliptic")]
    async with provider.with_keys(*keys), provider.gateway() as client:
        for key in keys:
            status, seen = await ask(client, await provider.token(key))
            expect(f"the status ({key['alg']})", status, 200)
            expect(f"the subject ({key['alg']})", seen.get("x-user"), "machine")
            expect(f"whether the token arrives ({key['alg']})", "authorization" in seen, False)
        status, _ = await ask(client, await provider.token(keys[0]) + "A")
        expect("the status for a token that was changed", status, 401)


class Asking:
    """Asks with tokens again and again, and remembers the answers to those whose key has been published long enough."""

    def __init__(self, client):
        self.client, self.tokens, self.ends = client, {}, False
        self.statuses = collections.Counter()

    def token(self, key, token):
        """One whose key is published from now on."""
        self.tokens[key["kid"]] = (token, time.monotonic() + KNOWN_AFTER)

    async def ask(self):
        while not self.ends:
            for kid, (token, known) in list(self.tokens.items()):
                must_be_known = time.monotonic() > known
                status, _ = await ask(self.client, token)
                self.statuses[kid, status] += must_be_known
            await asyncio.sleep(0.02)

    async def some_answers(self):
        """Waits until each token was good a hundred times more, or one was refused."""
        want = {kid: self.statuses[kid, 200] + 100 for kid in self.tokens}
        while any(self.statuses[kid, 200] < number for kid, number in want.items()) and not self.refused():
            await asyncio.sleep(0.1)

    def refused(self):
        return [kid for (kid, status), number in self.statuses.items() if status == 401 and number]


async def keys_change():
    """No token is 401 whose key is published for 3 s, while the provider restarts with one more key and then without the first."""
    provider, one, two, three = Provider(), rsa("one"), elliptic("two"), rsa("three")
    async with provider.gateway() as client:
        asking = Asking(client)
        task = asyncio.create_task(asking.ask())
        try:
            async with provider.with_keys(one):
                first = await provider.token(one)
                asking.token(one, first)
                await asking.some_answers()
            async with provider.with_keys(one, two):
                asking.token(two, await provider.token(two))
                await asking.some_answers()
                # It is about to go.
                del asking.tokens["one"]
            async with provider.with_keys(two, three):
                asking.token(three, await provider.token(three))
                await asking.some_answers()
                asking.ends = True
                await task
                expect("whose tokens were refused", asking.refused(), [])
                # The key that has gone is not good any more either.
                await becomes(401, client, first, passing=200)
        finally:
            asking.ends = True
            await task
    said = ", ".join(f"{kid} {status}: {number}" for (kid, status), number in asking.statuses.items() if number)
    return f"Answers by key: {said}."


async def provider_is_away():
    """A known token stays good for a while when the provider is away, is then 503, and is good again when it is back."""
    provider, key = Provider(), rsa("one")
    async with provider.gateway() as client:
        async with provider.with_keys(key):
            token = await provider.token(key)
            await becomes(200, client, token, passing=503)
        # Keys are a second old at most by now, and are kept for three.
        stayed = await becomes(503, client, token, passing=200)
        expect(f"whether it stays good for a second ({stayed:.1f} s)", stayed > 1, True)
        async with provider.with_keys(key):
            back = await becomes(200, client, token, passing=503)
    return f"It stayed good for {stayed:.1f} s, and was good again after {back:.1f} s."


async def opaque_tokens():
    """The provider is asked about a token that nobody else can read. One that it has revoked is good for a second more, and none while it is away."""
    provider, key = Provider(), rsa("one")
    async with provider.gateway() as client:
        async with provider.with_keys(key):
            token = await provider.opaque_token()
            expect("whether it is a JWT", "." in token, False)
            status, seen = await ask(client, token)
            expect("the status", status, 200)
            expect("the subject", seen.get("x-user"), "machine")
            expect("whether the token arrives", "authorization" in seen, False)
            expect("the status of one that nobody has given", (await ask(client, token + "A"))[0], 401)
            await provider.revoke(token)
            revoked = await becomes(401, client, token, passing=200)
            expect(f"whether it is revoked within two seconds ({revoked:.1f} s)", revoked < 2, True)
        await becomes(503, client, token, passing=401)
        # It keeps nothing that would outlive it: these are others.
        async with provider.with_keys(key):
            await becomes(200, client, await provider.opaque_token(), passing=503)
    return f"A token that was revoked was good for {revoked:.1f} s more."


class Holder:
    """Whoever proves that it has a key (RFC 9449)."""

    def __init__(self):
        self.key = ECKey.generate_key("P-256")

    def proof(self, method, address, token=None):
        claims = {"jti": str(uuid.uuid4()), "htm": method, "htu": address, "iat": int(time.time())}
        if token:
            digest = hashlib.sha256(token.encode()).digest()
            claims["ath"] = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        return jwt.encode(header, claims, self.key)


async def bound_tokens():
    """A token that the provider has bound to a key, JWT or opaque, is good with a proof of it, once each, and for nobody else."""
    provider, key, holder, thief = Provider(), rsa("one"), Holder(), Holder()
    async with provider.with_keys(key), provider.gateway() as client:
        here = f"http://{client.place}/"
        there = f"{provider.url}/token"
        for kind in ["JWT", "opaque"]:
            proof = holder.proof("POST", there)
            token = await (provider.token(key, proof) if kind == "JWT" else provider.opaque_token(proof))
            proof = holder.proof("GET", here, token)
            status, seen = await ask(client, token, proof)
            expect(f"the status ({kind})", status, 200)
            expect(f"the subject ({kind})", seen.get("x-user"), "machine")
            expect(f"whether the proof arrives ({kind})", "dpop" in seen, False)
            for what, proof in [
                ("the same proof again", proof),
                ("no proof", None),
                ("a thief's proof", thief.proof("GET", here, token)),
                ("a proof for another address", holder.proof("GET", f"{here}other", token)),
                ("a proof for another token", holder.proof("GET", here, token + "A")),
            ]:
                expect(f"the status with {what} ({kind})", (await ask(client, token, proof))[0], 401)


run([tokens_say_who_calls, keys_change, provider_is_away, opaque_tokens, bound_tokens], patience=120)
