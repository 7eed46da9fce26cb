"""The peer: Flask with Flask-Session 0.8 on Redis, as its documentation sets it up, asked who is logged in."""

import os

from flask import Flask, jsonify, session
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(os.environ["STOCK_REDIS_URL"]))
Session(app)


@app.post("/login")
def login():  # type: ignore[no-untyped-def]
    session["user"] = {"id": "u1", "email": "bench@example.org", "name": "", "roles": []}
    return jsonify(session["user"])


@app.get("/whoami")
def whoami():  # type: ignore[no-untyped-def]
    return (jsonify(session["user"]), 200) if "user" in session else (jsonify(error="unauthenticated"), 401)


@app.get("/healthz")
def healthz():  # type: ignore[no-untyped-def]
    return jsonify(status="alive")
