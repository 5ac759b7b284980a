"""The gateway as a file describes it, a back end for it that says what has arrived, and a client."""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib

from checks import PATIENCE

CONFIGS = pathlib.Path(__file__).parent


@contextlib.asynccontextmanager
async def running(command, log, starts, **options):
    """A program while the block runs, and what followed these beginnings in its output, of which there is little more."""
    with open(log, "w") as errors:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=errors, **options)
    has_ended = False
    try:
        yield [await line(process.stdout, start, log) for start in starts]
        has_ended = process.returncode is not None
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    if has_ended:
        raise AssertionError(f"{command[0]} has ended by itself: {pathlib.Path(log).read_text()}")


async def line(stream, start, log):
    async with asyncio.timeout(PATIENCE):
        async for text in stream:
            if text.decode().startswith(start):
                return text.decode().removeprefix(start).strip()
    raise AssertionError(f"it does not start: {pathlib.Path(log).read_text()}")


@contextlib.asynccontextmanager
async def gateway(program, config, log, **values):
    """A client of a gateway with this configuration, which has these values, with the back end behind it."""
    back = await asyncio.start_server(say_what_arrives, "127.0.0.1", 0)
    address = "127.0.0.1:{}".format(back.sockets[0].getsockname()[1])
    command = [program, "serve", "--config", CONFIGS / config]
    starts = ["listening on http://", "ready"]
    async with running(command, log, starts, env={**os.environ, **values, "BACK": address}) as (place, _):
        yield Client(place)
    back.close()


async def say_what_arrives(reader, writer):
    """Answers each request with its own headers."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            fields = (line.partition(":") for line in lines)
            body = json.dumps({name.lower(): value.strip() for name, _, value in fields})
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
    writer.close()


class Client:
    """Asks the gateway over one connection, as long as that stays open."""

    def __init__(self, place):
        self.place = place
        self.connection = http.client.HTTPConnection(place, timeout=PATIENCE)

    def ask(self, token, proof=None):
        """The status, and the headers that the back end has seen if it was asked."""
        headers = {"Authorization": f"Bearer {token}"}
        if proof:
            headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
        self.connection.request("GET", "/", headers=headers)
        answer = self.connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else None
