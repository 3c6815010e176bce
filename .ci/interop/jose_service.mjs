// A service on Node.js that verifies with jose and the published key set.
//
// Speaks as verifiers.py says. The settings are {"algorithm", "issuer", "jwk_url", "max_age"}, the
// last as seconds; the answer to a token is {"claims"}, or {"code"} where jose refuses it.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Modules are looked for beside this file, but jose was installed where things are built.
const require = createRequire(`${process.env.LATCHKEY_TEST_NODE_DIRECTORY}/`);
const { createRemoteJWKSet, jwtVerify } = require("jose");

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value);
const keys = createRemoteJWKSet(new URL(settings.jwk_url), { cacheMaxAge: settings.max_age * 1000 });
const options = { algorithms: [settings.algorithm], issuer: settings.issuer };

for await (const line of lines) {
  let answer;
  try {
    answer = { claims: (await jwtVerify(JSON.parse(line), keys, options)).payload };
  } catch (error) {
    answer = { code: error.code ?? String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
