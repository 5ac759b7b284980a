"""Talks to WebSocket servers through the gateway, whose address is the argument."""

import json
import os
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from checks import expect, run

GATEWAY = f"ws://{sys.argv[1]}"
MIB = 1024 * 1024


def opened(path, **options):
    """A connection through the gateway, and through no other proxy."""
    return connect(GATEWAY + path, proxy=None, max_size=None, **options)


async def echoed(path, message):
    async with opened(path) as connection:
        await connection.send(message)
        expect("the echo", await connection.recv(), message)


async def text():
    """Text comes back, an empty one too."""
    for message in ["hello", "", "grüße, 世界 🦀"]:
        await echoed("/", message)


async def binary():
    """Bytes come back, none at all too."""
    for message in [bytes(range(256)), b""]:
        await echoed("/", message)


async def large():
    """A message of 1 MiB comes back, be it text or bytes."""
    await echoed("/", os.urandom(MIB))
    await echoed("/", os.urandom(MIB // 2).hex())


async def fragmented():
    """Fragments stay fragments on both ways."""
    sent = ["a", "bc" * 5_000, "", "def"]
    async with opened("/fragments") as connection:
        await connection.send(sent)
        got = [fragment async for fragment in connection.recv_streaming()]
    # The frame that ends a message is empty where the sender does not know which part is the last.
    expect("their lengths", "".join(got).split(), [str(len(part)) for part in sent] + ["0"])
    expect("how many came back", len(got), len(sent) + 2)


async def interleaved():
    """A ping between two fragments is answered before the message is whole."""
    async with opened("/") as connection:

        async def parts():
            yield "one "
            await (await connection.ping(b"between"))
            yield "two"

        await connection.send(parts())
        expect("the echo", await connection.recv(), "one two")


async def pings():
    """Pings and their pongs pass, whoever asks."""
    async with opened("/") as connection:
        await (await connection.ping(b"are you there"))
        await (await connection.ping(b"x" * 125))
    async with opened("/ping") as connection:
        expect("the server", await connection.recv(), "the pong came")


async def closed_by_the_server():
    """The server's code and reason arrive at the client."""
    async with opened("/shut") as connection:
        await connection.send("anybody there")
        expect("the end", await end_of(connection), (4001, "the shop is shut"))


async def closed_by_the_client():
    """The client's code and reason arrive at the server."""
    for name, code, reason in [("plain", 1000, ""), ("own", 4002, "no more money")]:
        async with opened(f"/diary/{name}") as connection:
            await connection.recv()
            await connection.close(code, reason)
            expect("the answer", (connection.close_code, connection.close_reason), (code, reason))
        expect("what the server saw", await end_at_the_server(name), [code, reason])


async def client_vanishes():
    """A client that is gone is an abnormal end at the server."""
    async with opened("/diary/gone") as connection:
        await connection.recv()
        connection.transport.abort()
    expect("what the server saw", await end_at_the_server("gone"), [1006, ""])


async def server_vanishes():
    """A server that is gone is an abnormal end at the client."""
    async with opened("/doomed/vanish") as connection:
        await connection.send("farewell")
        expect("the end", await end_of(connection), (1006, ""))


async def no_server():
    """Where the server is gone, the protocol is not changed."""
    # The check before this one has killed it.
    expect("the status", await status_of("/doomed/"), 502)


async def subprotocol():
    """Both sides agree on the same subprotocol, or on none."""
    for offered, want in [
        (["shop.v1"], "shop.v1"),
        (["other", "shop.v1", "shop.v2"], "shop.v2"),
        (["other"], None),
        (None, None),
    ]:
        async with opened("/negotiated", subprotocols=offered) as connection:
            at_server, _ = json.loads(await connection.recv())
            expect(f"of {offered}", (connection.subprotocol, at_server), (want, want))


async def compression():
    """Both sides agree on permessage-deflate, and only where both want it."""
    for offered, want in [("deflate", ["permessage-deflate"]), (None, [])]:
        async with opened("/negotiated", compression=offered) as connection:
            _, at_server = json.loads(await connection.recv())
            at_client = [extension.name for extension in connection.protocol.extensions]
            expect(f"with {offered}", (at_client, at_server), (want, want))
        async with opened("/", compression=offered) as connection:
            for message in ["again and again, " * 10_000, b"\0" * MIB]:
                await connection.send(message)
                expect("the echo", await connection.recv(), message)


async def refused():
    """A server that does not change the protocol is heard."""
    expect("the status", await status_of("/forbidden"), 403)


async def other_server():
    """The server of the other library answers this client too."""
    for message in ["hello", b"\0\1\2", os.urandom(MIB)]:
        await echoed("/node/", message)


async def end_of(connection):
    """The code and the reason of the end, which must come before anything else."""
    try:
        message = await connection.recv()
    except ConnectionClosed:
        return connection.close_code, connection.close_reason
    return f"no end but {message!r}"


async def end_at_the_server(name):
    async with opened(f"/ended/{name}") as connection:
        return json.loads(await connection.recv())


async def status_of(path):
    try:
        async with opened(path):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


run([
    text,
    binary,
    large,
    fragmented,
    interleaved,
    pings,
    closed_by_the_server,
    closed_by_the_client,
    client_vanishes,
    subprotocol,
    compression,
    refused,
    other_server,
    server_vanishes,
    no_server,
])
