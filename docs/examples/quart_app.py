"""The same page as flask_app.py, for Quart. See docs/drop-in.md.

AUTHSVC_INSTANCE=../../instance AUTHSVC_COOKIE_SECURE=false uvicorn --port 3000 quart_app:app
"""

from quart import Quart, redirect, session
from quart.typing import ResponseReturnValue

from authsvc.quart import AuthSession

app = Quart("visits")
AuthSession(app)


@app.get("/")
async def page() -> ResponseReturnValue:
    if not session.user:
        return redirect("/login?next=/")
    session["visits"] = session.get("visits", 0) + 1
    return {"hello": session.user.name or session.user.email, "visits": session["visits"]}


@app.get("/about")
async def about() -> str:
    """Touches no session: the answer is everybody's."""
    return "It counts."
