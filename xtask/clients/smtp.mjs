// A mail server of the npm package `smtp-server`, which tells each mail that it takes, as a line of JSON in a file.
// Arguments: the file; how often it refuses a mail for now before it takes one.
import { appendFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "x.js"));
const { SMTPServer } = require("smtp-server");
const { simpleParser } = require("mailparser");

const [file, refusals] = [process.argv[2], Number(process.argv[3])];
let refused = 0;

const server = new SMTPServer({
  authOptional: true,
  onAuth: (auth, _, done) =>
    auth.username === "shop" && auth.password === "s3cret"
      ? done(null, { user: "shop" })
      : done(new Error("nobody whom we know")),
  allowInsecureAuth: true,
  onMailFrom: (_, __, done) => {
    if (refused < refusals) {
      refused += 1;
      return done(Object.assign(new Error("come again"), { responseCode: 451 }));
    }
    done();
  },
  onData: async (stream, session, done) => {
    const mail = await simpleParser(stream);
    const told = {
      from: mail.from.text,
      to: mail.to.text,
      envelope: session.envelope.rcptTo.map((it) => it.address),
      subject: mail.subject,
      text: mail.text,
      user: session.user ?? null,
    };
    appendFileSync(file, JSON.stringify(told) + "\n");
    done();
  },
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.server.address().port}`));
