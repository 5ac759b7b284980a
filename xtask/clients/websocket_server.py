"""A WebSocket server that stands behind the gateway. It prints its port, and serves until it is killed.

The path says what it does: an echo, unless it is one of PATHS.
"""

import asyncio
import collections
import json
import logging
import os
import signal

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

SUBPROTOCOLS = ["shop.v2", "shop.v1"]

# How connections to `/diary/NAME` ended.
ends = collections.defaultdict(asyncio.Future)


async def echo(connection):
    """Sends every message back, as one frame. Fragments are put together here, for the library takes only so many."""
    while True:
        fragments = [fragment async for fragment in connection.recv_streaming()]
        await connection.send(type(fragments[0])().join(fragments))


async def fragments(connection):
    """Says how long each fragment of a message was, in as many fragments."""
    lengths = [len(fragment) async for fragment in connection.recv_streaming()]
    await connection.send(f"{length} " for length in lengths)


async def ping(connection):
    """Pings the client, and says so when the pong is there."""
    await (await connection.ping(b"are you there"))
    await connection.send("the pong came")


async def negotiated(connection):
    """Says what was agreed upon, as this side sees it."""
    extensions = [extension.name for extension in connection.protocol.extensions]
    await connection.send(json.dumps([connection.subprotocol, extensions]))


async def shut(connection):
    """Closes with a code and a reason of its own."""
    await connection.recv()
    await connection.close(4001, "the shop is shut")


async def diary(connection):
    """Waits for the end of the connection, and notes how it ended."""
    name = connection.request.path.rsplit("/", 1)[1]
    await connection.send("open")
    await connection.wait_closed()
    ends[name].set_result([connection.close_code, connection.close_reason])


async def ended(connection):
    """Says how another connection ended, as soon as it has."""
    name = connection.request.path.rsplit("/", 1)[1]
    await connection.send(json.dumps(await ends[name]))


async def vanish(connection):
    """Is gone in the middle of a message."""
    await connection.recv()
    os.kill(os.getpid(), signal.SIGKILL)


PATHS = {
    "fragments": fragments,
    "ping": ping,
    "negotiated": negotiated,
    "shut": shut,
    "diary": diary,
    "ended": ended,
    "vanish": vanish,
}


async def answer(connection):
    path = connection.request.path.strip("/").split("/")
    try:
        await PATHS.get(path[0], echo)(connection)
    except ConnectionClosed:
        pass


def refuse(connection, request):
    """Refuses to change the protocol at `/forbidden`."""
    if request.path == "/forbidden":
        return connection.respond(403, "not for you\n")
    return None


def choose(connection, offered):
    """Takes the best of the subprotocols that are offered, or none."""
    return next((ours for ours in SUBPROTOCOLS if ours in offered), None)


async def main():
    # Clients that break the protocol on purpose are no news.
    logging.getLogger("websockets").disabled = True
    logging.getLogger("websockets.server").disabled = True
    options = {"process_request": refuse, "select_subprotocol": choose, "max_size": None}
    async with serve(answer, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
