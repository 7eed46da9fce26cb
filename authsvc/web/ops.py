"""For load balancers: is it alive, can it take requests?"""

from flask import Blueprint

from authsvc.core.errors import StorageDown
from authsvc.core.store import SKEW
from authsvc.web.guards import services

blueprint = Blueprint("ops", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "alive"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, str], int]:
    """Ready as long as SQL answers and the clocks agree: without Redis the service is slower, not wrong."""
    parts = services()
    try:
        skew = abs(parts.db.time() - parts.store.clock())
    except StorageDown:
        skew = None
    if skew is None or skew > SKEW:
        return {"status": "not ready"}, 503
    return {"status": "ready"}, 200
