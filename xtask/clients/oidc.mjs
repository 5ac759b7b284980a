// The `oidc-provider` package: `oidc.mjs PORT KEYS ISSUER AUDIENCE` gives tokens to one client, which says by the name of a
// resource which of the keys in the file shall sign. The package is looked for where it runs.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const place = createRequire(`${process.cwd()}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(place));

const [port, file, issuer, audience] = process.argv.slice(2);
const jwks = JSON.parse(readFileSync(file, "utf8"));

/** Tokens for it are JWTs for the same audience; the key differs. */
async function getResourceServerInfo(_context, resource) {
  const kid = new URL(resource).pathname;
  const { alg } = jwks.keys.find((key) => key.kid === kid);
  return { scope: "read", audience, accessTokenFormat: "jwt", accessTokenTTL: 600, jwt: { sign: { alg, kid } } };
}

const provider = new Provider(issuer, {
  jwks,
  clients: [
    {
      client_id: "machine",
      client_secret: "known to nobody else",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_post",
      id_token_signed_response_alg: jwks.keys[0].alg,
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: { enabled: true, getResourceServerInfo },
  },
});
await once(provider.listen(Number(port), "127.0.0.1"), "listening");
console.log("listening");
