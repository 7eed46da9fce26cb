// better-auth in Node, as its installation page sets it up: users in SQL, sessions in Redis as secondary storage.

import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import Database from "better-sqlite3";
import { createClient } from "redis";

const client = createClient({ socket: { path: process.env.PEER_REDIS_URL.replace("unix://", "") } });
await client.connect();
const base = `http://127.0.0.1:${process.env.PEER_PORT}`;
const options = {
  baseURL: base,
  secret: process.env.PEER_SECRET,
  database: new Database(`${process.env.PEER_FOLDER}/peer.sqlite3`),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  secondaryStorage: {
    get: (key) => client.get(key),
    set: (key, value, ttl) => client.set(key, value, ttl ? { EX: Math.ceil(ttl) } : {}),
    delete: async (key) => { await client.del(key); },
  },
};
const auth = betterAuth(options);
await (await getMigrations(options)).runMigrations();
const handle = toNodeHandler(auth);
createServer((request, response) => {
  if (request.url === "/healthz") response.end("alive");
  else handle(request, response);
}).listen(Number(process.env.PEER_PORT), "127.0.0.1");
