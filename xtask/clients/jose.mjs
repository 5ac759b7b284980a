// The `jose` package: `jose.mjs sign` makes tokens, and `jose.mjs judge` says which ones are good. The question comes as JSON
// on the standard input, and the answer goes as JSON to the standard output. The package is looked for where it runs.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const place = createRequire(`${process.cwd()}/`).resolve("jose");
const { SignJWT, createLocalJWKSet, importJWK, jwtVerify } = await import(pathToFileURL(place));

/** One token for each header. */
async function sign({ headers, claims, keys }) {
  const one = async (header, at) => {
    const key = await importJWK(keys[at], header.alg);
    return new SignJWT(claims).setProtectedHeader(header).sign(key);
  };
  return Promise.all(headers.map(one));
}

/** Whether each token is good at one of its moments. */
async function judge({ questions, policy, jwks }) {
  const keys = createLocalJWKSet(jwks);
  const verdicts = [];
  for (const { token, moments } of questions) {
    let good = false;
    for (const moment of moments) {
      good ||= await isGood(token, keys, { ...policy, currentDate: new Date(moment * 1000) });
    }
    verdicts.push(good);
  }
  return verdicts;
}

async function isGood(token, keys, policy) {
  try {
    await jwtVerify(token, keys, policy);
    return true;
  } catch (error) {
    if (error.code !== "ERR_JWKS_MULTIPLE_MATCHING_KEYS") return false;
    // It names no key. The package leaves it to us to try each of those that fit.
    for await (const key of error) {
      if (await isGood(token, key, policy)) return true;
    }
    return false;
  }
}

const question = JSON.parse(await text(process.stdin));
console.log(JSON.stringify(await { sign, judge }[process.argv[2]](question)));
