"""A page beside authsvc, on the same host: it greets who is logged in, and counts their visits. See docs/drop-in.md.

AUTHSVC_INSTANCE=../../instance AUTHSVC_COOKIE_SECURE=false granian --interface wsgi --port 3000 flask_app:app
"""

from flask import Flask, redirect, session
from flask.typing import ResponseReturnValue

from authsvc.flask import AuthSession

app = Flask("visits")
AuthSession(app)


@app.get("/")
def page() -> ResponseReturnValue:
    if not session.user:
        return redirect("/login?next=/")
    session["visits"] = session.get("visits", 0) + 1
    return {"hello": session.user.name or session.user.email, "visits": session["visits"]}


@app.get("/about")
def about() -> str:
    """Touches no session: no store is asked, and the answer is everybody's."""
    return "It counts."
