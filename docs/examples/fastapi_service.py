"""The same service as flask_service.py, for FastAPI. See docs/sdk.md.

ISSUER=http://127.0.0.1:8000 AUDIENCE=https://notes.example CLIENT_ID=... CLIENT_SECRET=... \
    uvicorn --port 3002 fastapi_service:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from authsvc.sdk import AsyncVerifier
from authsvc.sdk.asgi import Middleware, caller, require

verifier = AsyncVerifier(
    os.environ["ISSUER"],
    os.environ["AUDIENCE"],
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    on_stale="introspect",
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with verifier:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(Middleware, verifier=verifier)


@app.get("/about")
async def about() -> dict[str, str]:
    return {"about": "It keeps notes."}


@app.get("/notes")
@require(scope="notes:read")
async def notes() -> dict[str, str]:
    return {"notes_of": caller().subject}
