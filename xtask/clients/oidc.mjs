// The `oidc-provider` package: `oidc.mjs PORT KEYS ISSUER AUDIENCE` gives tokens to one client, which says by the name of a
// resource which of the keys in the file shall sign, or that nobody else shall read them; another one may ask about these. The package is looked for where it runs.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const place = createRequire(`${process.cwd()}/`).resolve("oidc-provider");
const { Provider } = await import(pathToFileURL(place));

const [port, file, issuer, audience] = process.argv.slice(2);
const jwks = JSON.parse(readFileSync(file, "utf8"));

/** Tokens for it are JWTs for the same audience, of which the key differs, or opaque. */
async function getResourceServerInfo(_context, resource) {
  if (resource === "urn:opaque") return { scope: "read", audience, accessTokenFormat: "opaque", accessTokenTTL: 600 };
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
    {
      client_id: "gate way",
      client_secret: "known: & to % the gateway",
      grant_types: [],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_basic",
      id_token_signed_response_alg: jwks.keys[0].alg,
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    dPoP: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: { enabled: true, getResourceServerInfo },
  },
});
await once(provider.listen(Number(port), "127.0.0.1"), "listening");
console.log("listening");
