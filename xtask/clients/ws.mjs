// The `ws` package on either side of the gateway: `ws.mjs serve`, which prints its port and serves until it is killed,
// and `ws.mjs check URL...`, which talks to the servers behind these addresses. The package is looked for where it runs.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";

const { WebSocket, WebSocketServer } = createRequire(`${process.cwd()}/`)("ws");

/** Sends every message back. */
async function serve() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });
  server.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    // What a client does wrong is its own affair.
    socket.on("error", () => {});
  });
  await once(server, "listening");
  console.log(server.address().port);
}

/** Text, bytes and 1 MiB come back, pings are answered, and the code of the end as well. */
async function check(url) {
  const socket = new WebSocket(url);
  try {
    await once(socket, "open");
    await talk(socket);
  } finally {
    // An open connection would keep the program from its end.
    socket.terminate();
  }
}

async function talk(socket) {
  assert.match(socket.extensions, /^permessage-deflate/, "the extension is agreed upon");
  const messages = ["hello", "", "again and again, ".repeat(10_000), Buffer.from([0, 1, 255]), randomBytes(1024 * 1024)];
  for (const message of messages) {
    socket.send(message);
    const [data, binary] = await once(socket, "message");
    assert.equal(binary, typeof message !== "string", "the kind of the echo");
    // Said by itself: the assertion would print both of them.
    assert.ok(data.equals(Buffer.from(message)), `${message.length} came back as ${data.length} others`);
  }
  socket.ping("are you there");
  const [pong] = await once(socket, "pong");
  assert.equal(pong.toString(), "are you there", "the pong");
  socket.close(4003, "all is well");
  const [code] = await once(socket, "close");
  assert.equal(code, 4003, "the code of the end");
}

const [command, ...urls] = process.argv.slice(2);
if (command === "serve") {
  await serve();
} else {
  // Whatever hangs ends here.
  const watch = setTimeout(() => {
    console.log("  FAILED  ws still waits after 30 s.");
    process.exit(1);
  }, 30_000);
  for (const url of urls) {
    try {
      await check(url);
      console.log(`  holds   Text, bytes, 1 MiB, a pong and the end come back from ${new URL(url).pathname}`);
    } catch (error) {
      console.log(`  FAILED  ${new URL(url).pathname}: ${error.message}`);
      process.exitCode = 1;
    }
  }
  clearTimeout(watch);
}
