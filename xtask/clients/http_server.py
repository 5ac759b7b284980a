"""An HTTP/1.1 server that stands behind the gateway. It prints its port, and serves until it is killed.

It holds answers back until it is told at `/told/NAME` that something has arrived: what comes early can be told from what
comes with the rest without a look at the clock.
"""

import asyncio
import collections
import hashlib
import json

told = collections.defaultdict(asyncio.Event)


class Request:
    """What a client has sent; its body only when it is asked for."""

    def __init__(self, head, reader, writer):
        first, *lines = head.decode().strip().split("\r\n")
        self.path = first.split(" ")[1]
        fields = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        self.reader, self.writer = reader, writer

    async def say(self, text):
        self.writer.write(text.encode())
        await self.writer.drain()

    async def answer(self, status, body):
        await self.say(f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}")

    async def body(self):
        # The gateway passes the question on over HTTP/1.1.
        if self.headers.get("expect") == "100-continue":
            await self.say("HTTP/1.1 100 Continue\r\n\r\n")
        return await self.reader.readexactly(int(self.headers["content-length"]))


async def upload(request):
    """Says what has arrived."""
    body = await request.body()
    seen = {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    await request.answer(200, json.dumps(seen))


async def refuse(request, status, name):
    """Answers before it reads anything of the body, and reads nothing of it later either."""
    await request.answer(status, "no\n")
    await told[name].wait()


async def hints(request, name):
    """Gives a hint, and the answer when the hint has arrived."""
    await request.say("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
    await told[name].wait()
    await request.answer(200, "the answer\n")


async def events(request, name):
    """Sends an event, and another one when the first has arrived."""
    kind = "content-type: text/event-stream"
    await request.say(f"HTTP/1.1 200 OK\r\n{kind}\r\nconnection: close\r\n\r\n")
    await request.say("data: first\n\n")
    await told[name].wait()
    await request.say("data: second\n\n")


async def tell(request, name):
    """Takes the word of the client that something has arrived."""
    told[name].set()
    await request.answer(200, "thanks\n")


PATHS = {"upload": upload, "refuse": refuse, "hints": hints, "events": events, "told": tell}


async def serve(reader, writer):
    try:
        request = Request(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        name, *rest = request.path.strip("/").split("/")
        await PATHS[name](request, *rest)
    except (asyncio.IncompleteReadError, ConnectionError):
        # The other side has gone.
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
