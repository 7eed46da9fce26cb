"""A service that is called with access tokens of authsvc. See docs/sdk.md.

ISSUER=http://127.0.0.1:8000 AUDIENCE=https://notes.example CLIENT_ID=... CLIENT_SECRET=... \
    granian --interface wsgi --port 3001 flask_service:app
"""

import os

from flask import Flask, g

from authsvc.sdk import Verifier
from authsvc.sdk.flask import Require

verifier = Verifier(
    os.environ["ISSUER"],
    os.environ["AUDIENCE"],
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    on_stale="introspect",
)
require = Require(verifier)
app = Flask("notes")


@app.get("/about")
def about() -> dict[str, str]:
    return {"about": "It keeps notes."}


@app.get("/notes")
@require(scope="notes:read")
def notes() -> dict[str, str]:
    return {"notes_of": g.caller.subject}
