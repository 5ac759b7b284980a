"""Has curl talk to the HTTP server through the gateway, whose address is the argument."""

import asyncio
import hashlib
import json
import os
import sys
import tempfile

from checks import PATIENCE, expect, run

GATEWAY = f"http://{sys.argv[1]}/http"
# Without the user's configuration, and without another proxy. Where `100 Continue` does not come, curl waits longer than
# we do in place of sending its body after a second.
CURL = ["curl", "--disable", "--noproxy", "*", "--silent", "--show-error", "--no-buffer"]
CURL += ["--expect100-timeout", str(2 * PATIENCE)]
PROTOCOLS = ["--http1.1", "--http2-prior-knowledge"]
LINK = "</style.css>; rel=preload"
BODY = os.urandom(2 * 1024 * 1024)


class Curl:
    """A running curl, which is killed at the end of the block that it runs in."""

    def __init__(self, path, *options):
        self.words = [*CURL, *options, GATEWAY + path]

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*self.words, stdout=pipe, stderr=pipe)
        self.output, self.trace = self.process.stdout, self.process.stderr
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def rest(self):
        """What else it says, up to its end, which must be a good one."""
        said, complaint = await asyncio.gather(self.output.read(), self.trace.read())
        expect(f"how curl ends ({complaint.decode().strip()})", await self.process.wait(), 0)
        return said.decode()


async def line(stream, start):
    """The next line that starts with this, as soon as it is there. Those before it are passed over."""
    async for line in stream:
        if line.decode().startswith(start):
            return line.decode().strip()
    raise AssertionError(f"there is no line {start!r}")


async def curl(path, *options):
    """What curl says, the heads of answers included."""
    async with Curl(path, "--include", *options) as running:
        return await running.rest()


async def tell(name):
    """Tells the server that something has arrived."""
    expect("the server", (await curl(f"/told/{name}")).splitlines()[-1], "thanks")


class Upload:
    """A file with a body, and how curl sends it."""

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile()
        self.file.write(BODY)
        self.file.flush()
        return ["--upload-file", self.file.name]

    def __exit__(self, *_):
        self.file.close()


async def upload_that_asks():
    """Who asks whether to send its body hears `100 Continue`, and 2 MiB arrive."""
    with Upload() as upload:
        said = await curl("/upload", *upload, "--header", "Expect: 100-continue", "--http1.1")
    expect("the first line", said.splitlines()[0], "HTTP/1.1 100 Continue")
    arrived(said)


async def upload_that_does_not_ask():
    """2 MiB arrive where nobody asks."""
    for protocol in PROTOCOLS:
        with Upload() as upload:
            arrived(await curl("/upload", *upload, "--header", "Expect:", protocol))


def arrived(said):
    want = {"length": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest()}
    expect("what arrived", json.loads(said.splitlines()[-1]), want)


async def upload_that_the_gateway_refuses():
    """Who asks hears what the gateway itself refuses in place of `100 Continue`, and keeps its body."""
    options = ["--header", "Expect: 100-continue", "--http1.1", "--write-out", "\n%{size_upload}"]
    for path, status in [("/small/upload", 413), ("/guarded/upload", 401)]:
        with Upload() as upload:
            said = (await curl(path, *upload, *options)).splitlines()
        expect(f"the first line at {path}", said[0].split()[1], str(status))
        expect(f"how much was sent to {path}", said[-1], "0")


async def upload_that_the_server_refuses():
    """Who asks hears a server that refuses without reading, and keeps its body."""
    options = ["--header", "Expect: 100-continue", "--http1.1", "--write-out", "\n%{size_upload}"]
    for status in [413, 401]:
        rest = await refused(f"asks-{status}", status, *options)
        expect(f"how much was sent ({status})", rest.splitlines()[-1], "0")


async def upload_that_the_server_refuses_on_the_way():
    """Who sends its body unasked hears a server that refuses without reading."""
    for status in [413, 401]:
        for protocol in PROTOCOLS:
            await refused(f"sends-{status}{protocol}", status, "--header", "Expect:", protocol)


async def refused(name, status, *options):
    with Upload() as upload:
        async with Curl(f"/refuse/{status}/{name}", "--include", *upload, *options) as running:
            # The server still waits: the answer comes neither from the end of the connection nor from a timeout.
            final = await line(running.output, ("HTTP/1.1 4", "HTTP/1.1 5", "HTTP/2 4", "HTTP/2 5"))
            expect(f"the status ({name})", final.split()[1], str(status))
            await line(running.output, "no")
            rest = await running.rest()
    await tell(name)
    return rest


async def early_hints():
    """A hint arrives over HTTP/1.1 while the server still holds the answer back."""
    async with Curl("/hints/one", "--verbose", "--http1.1") as running:
        expect("the hint", await line(running.trace, "< HTTP/"), "< HTTP/1.1 103 Early Hints")
        expect("its link", await line(running.trace, "< link:"), f"< link: {LINK}")
        await tell("one")
        expect("the answer", await line(running.trace, "< HTTP/"), "< HTTP/1.1 200 OK")
        expect("its body", await running.rest(), "the answer\n")


async def early_hints_over_http2():
    """The gateway keeps hints from HTTP/2 clients, for it has no way to send them there; the answer arrives."""
    await tell("two")
    said = await curl("/hints/two", "--http2-prior-knowledge")
    expect("the first line", said.splitlines()[0].strip(), "HTTP/2 200")
    expect("the last line", said.splitlines()[-1], "the answer")


async def server_sent_events():
    """An event arrives while the server still holds the next one back, over HTTP/1.1 and over HTTP/2."""
    for protocol in PROTOCOLS:
        name = f"event{protocol}"
        async with Curl(f"/events/{name}", protocol) as running:
            expect("the first", await line(running.output, "data:"), "data: first")
            await tell(name)
            expect("the rest", (await running.rest()).split("\n"), ["", "data: second", "", ""])


run([
    upload_that_asks,
    upload_that_does_not_ask,
    upload_that_the_gateway_refuses,
    upload_that_the_server_refuses,
    upload_that_the_server_refuses_on_the_way,
    early_hints,
    early_hints_over_http2,
    server_sent_events,
])
