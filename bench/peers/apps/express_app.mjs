// express-session on Redis, as the page of connect-redis sets it up.

import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ socket: { path: process.env.PEER_REDIS_URL.replace("unix://", "") } });
await client.connect();
const app = express();
app.use(session({
  store: new RedisStore({ client }), secret: process.env.PEER_SECRET, name: "session", resave: false, saveUninitialized: false,
}));
app.post("/login-here", express.json(), (request, response) => {
  request.session.user = { id: "u1", email: request.body.email };
  response.json({ done: true });
});
app.get("/whoami", ({ session: { user } }, response) => (user ? response.json(user) : response.status(401).end()));
app.get("/healthz", (_, response) => response.send("alive"));
app.listen(Number(process.env.PEER_PORT), "127.0.0.1");
