"""Asks the gateway, `joserfc` and the npm package `jose` about the same tokens: good ones, and many that were tampered with.

The arguments are the program of the gateway, the directory where Node.js finds its packages, and one for what is written on
the way. Which mutations there are is always the same; keys, signatures and times are new each time.
"""

import asyncio
import collections
import json
import pathlib
import random
import subprocess
import sys
import time
import warnings

import tokens
from checks import expect, run
from gateway import gateway
from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

PROGRAM, NODE, DIR = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
SCRIPT = pathlib.Path(__file__).with_name("jose.mjs")
COUNT = 10_000
SEED = 7519
LEEWAY = 30
# The gateway takes both names of EdDSA with Ed25519 for one, so the libraries are told both.
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]

# joserfc warns of the older one of the two names.
warnings.simplefilter("ignore")


async def untouched_tokens():
    """All three accept every token of either library that nobody has touched."""
    keys, made = tokens.Keys(), []
    claims = tokens.claims(int(time.time()))
    for _ in range(10):
        headers = [{"alg": key.alg, "kid": key.kid, "typ": "at+jwt"} for key in keys.known]
        made += [jwt.encode(header, claims, key.own, ALGORITHMS) for key, header in zip(keys.known, headers)]
        made += node("sign", headers=headers, claims=claims, keys=[key.own.as_dict(private=True) for key in keys.known])
    answers = await ask(keys, [("untouched", lambda now, token=token: token) for token in made])
    for name, accepted in answers.verdicts.items():
        expect(f"how many {name} accepts", sum(accepted), len(made))
    return f"{len(made)} tokens."


async def tokens_that_were_tampered_with():
    """The gateway accepts no token that both libraries refuse."""
    keys, kinds = tokens.Keys(), list(tokens.MUTATIONS)
    kinds = [(kinds[number % len(kinds)], random.Random(SEED + number)) for number in range(COUNT)]
    answers = await ask(keys, [(kind, tokens.mutated(kind, keys, choose)) for kind, choose in kinds])
    gateway, jose, joserfc = (answers.verdicts[name] for name in ["gateway", "jose", "joserfc"])
    judged = list(zip(answers.kinds, answers.asked, gateway, zip(jose, joserfc)))
    wrong = [f"{kind}: {asked['token']}" for kind, asked, good, others in judged if good and not any(others)]
    shown = "".join(f"\n          {token}" for token in wrong[:10])
    expect(f"how many of {COUNT} the gateway alone accepts{shown}\n         ", len(wrong), 0)
    # Otherwise nothing was shown.
    accepted = {name: sum(good) for name, good in answers.verdicts.items()}
    telling = all(COUNT / 100 < number < COUNT / 2 for number in accepted.values())
    expect(f"whether each accepts some and refuses more ({accepted})", telling, True)
    stricter = collections.Counter(kind for kind, _, good, others in judged if all(others) and not good)
    said = ", ".join(f"{kind} {number}" for kind, number in stricter.most_common())
    accepted = ", ".join(f"{name} accepts {number}" for name, number in accepted.items())
    return (
        f"Of {COUNT},\n          {accepted}.\n"
        f"          Of those that both libraries accept, the gateway refuses {stricter.total()}: {said}."
    )


class Answers:
    """What was asked, and what each of the three makes of it."""

    def __init__(self):
        self.kinds, self.asked, self.verdicts = [], [], {"gateway": []}


async def ask(keys, makers):
    """Has tokens made, each of which is asked for with the time, and asks the gateway and then the libraries."""
    jwks, file = keys.published(), DIR / "jose-keys.json"
    file.write_text(json.dumps(jwks))
    values = {"ISSUER": tokens.ISSUER, "AUDIENCE": tokens.AUDIENCE, "JWKS": f"file:{file}"}
    answers = Answers()
    async with gateway(PROGRAM, "jwt.toml", DIR / "jose-gateway.log", **values) as client:
        await asyncio.to_thread(ask_gateway, client, makers, answers)
    policy = {"issuer": tokens.ISSUER, "audience": tokens.AUDIENCE, "clockTolerance": LEEWAY}
    policy |= {"algorithms": ALGORITHMS, "requiredClaims": ["exp"]}
    question = {"questions": answers.asked, "policy": policy, "jwks": jwks}
    answers.verdicts["jose"], answers.verdicts["joserfc"] = await asyncio.gather(
        asyncio.to_thread(node, "judge", **question), asyncio.to_thread(ask_joserfc, answers.asked, jwks)
    )
    return answers


def ask_gateway(client, makers, answers):
    for kind, make in makers:
        before = int(time.time())
        token = make(before)
        status, _ = client.ask(token)
        if status not in (200, 401):
            raise AssertionError(f"{status} for a token ({kind}): {token}")
        # The gateway has looked at its clock in one of these seconds. HTTP drops spaces around a header.
        moments = list(range(before, int(time.time()) + 1))
        answers.kinds.append(kind)
        answers.asked.append({"token": token.strip(" \t"), "moments": moments})
        answers.verdicts["gateway"].append(status == 200)


def ask_joserfc(questions, jwks):
    keys = jwk.KeySet.import_key_set(jwks)
    # As the others, it passes over what it does not know in a header.
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    one = {"essential": True}

    def is_good(token, moment):
        try:
            claims = jwt.decode(token.encode("latin-1"), keys, registry=registry).claims
            options = {"iss": one | {"value": tokens.ISSUER}, "aud": one | {"value": tokens.AUDIENCE}, "exp": one}
            jwt.JWTClaimsRegistry(now=moment, leeway=LEEWAY, **options).validate(claims)
            return True
        except (JoseError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError):
            # Whatever it stumbles over, it has not accepted.
            return False

    return [any(is_good(asked["token"], moment) for moment in asked["moments"]) for asked in questions]


def node(command, **question):
    words, question = ["node", SCRIPT, command], json.dumps(question)
    done = subprocess.run(words, input=question, cwd=NODE, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(f"node: {done.stderr}")
    return json.loads(done.stdout)


run([untouched_tokens, tokens_that_were_tampered_with], patience=120)
