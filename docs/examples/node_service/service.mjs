// The same service as flask_service.py, for Node, without our sdk: `jose` checks the token by the published keys, and
// introspection (RFC 7662) says whether its session still lives. See docs/sdk.md.
//
// npm ci && ISSUER=http://127.0.0.1:8000 AUDIENCE=https://notes.example CLIENT_ID=... CLIENT_SECRET=... PORT=3003 node service.mjs

import { createServer } from "node:http";
import { createRemoteJWKSet, jwtVerify } from "jose";

const { ISSUER, AUDIENCE, CLIENT_ID, CLIENT_SECRET, PORT = "3003" } = process.env;
const found = await fetch(`${ISSUER}/.well-known/oauth-authorization-server`, { signal: AbortSignal.timeout(5000) });
const issuer = await found.json();
if (issuer.issuer !== ISSUER) throw new Error(`${ISSUER} does not call itself that`);

const keys = createRemoteJWKSet(new URL(issuer.jwks_uri));
const rules = { issuer: ISSUER, audience: AUDIENCE, typ: "at+jwt", algorithms: ["ES256", "EdDSA", "RS256"], requiredClaims: ["exp", "sub"] };
const basic = Buffer.from(`${encodeURIComponent(CLIENT_ID)}:${encodeURIComponent(CLIENT_SECRET)}`).toString("base64");

async function alive(token) {
  const answer = await fetch(issuer.introspection_endpoint, {
    method: "POST",
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ token }),
    signal: AbortSignal.timeout(1000),
  });
  if (!answer.ok) throw new Error(`introspection answered ${answer.status}`);
  return (await answer.json()).active === true;
}

async function handle(request) {
  if (request.url === "/about") return [200, { about: "It keeps notes." }];
  if (request.url !== "/notes") return [404, { error: "not_found" }];
  const token = /^bearer +([\w.~+/-]+=*)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (!token) return [401, { error: "unauthenticated" }, `Bearer realm="${AUDIENCE}"`];
  let claims;
  try {
    claims = (await jwtVerify(token, keys, rules)).payload;
  } catch (error) {
    if (error.code === "ERR_JWKS_TIMEOUT" || !error.code?.startsWith("ERR_J")) throw error; // no word about the token
  }
  if (!claims || !(await alive(token)))
    return [401, { error: "invalid_token" }, `Bearer realm="${AUDIENCE}", error="invalid_token"`];
  if (!(claims.scope ?? "").split(" ").includes("notes:read"))
    return [403, { error: "insufficient_scope" }, `Bearer realm="${AUDIENCE}", error="insufficient_scope", scope="notes:read"`];
  return [200, { notes_of: claims.sub }];
}

createServer(async (request, response) => {
  const [status, body, challenge] = await handle(request).catch((error) => {
    console.error(`${request.method}: ${error.message}`);
    return [503, { error: "unavailable" }];
  });
  response.writeHead(status, { "content-type": "application/json", ...(challenge && { "www-authenticate": challenge }) });
  response.end(JSON.stringify(body));
}).listen(Number(PORT), "127.0.0.1");
