"""For Flask.

require = Require(verifier)

@app.get("/orders")
@require(scope="orders:read")
def orders():
    return {"yours": load(g.caller.subject)}
"""

import functools
import time
from collections.abc import Callable
from typing import Any, ParamSpec

from flask import Response, current_app, g, request

from authsvc.core.errors import AuthsvcError
from authsvc.sdk import bearer
from authsvc.sdk.caller import Caller
from authsvc.sdk.verifier import Verifier

P = ParamSpec("P")


class Require:
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def __call__(
        self, *, scope: str = "", role: str | None = None, max_age: int | None = None
    ) -> Callable[[Callable[P, Any]], Callable[P, Any]]:
        """For views that only a caller with all words of `scope`, this role, and a login at most `max_age` seconds ago
        may call; who it is stands in `g.caller`. Others are answered as RFC 6750 and 9470 say."""

        def decorate(view: Callable[P, Any]) -> Callable[P, Any]:
            @functools.wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                try:
                    g.caller = self.caller()
                    g.caller.demand(scope=scope, role=role, max_age=max_age, now=time.time())
                except AuthsvcError as error:
                    return self._answer(error)
                return current_app.ensure_sync(view)(*args, **kwargs)

            return guarded

        return decorate

    def caller(self) -> Caller:
        """Who sent this request. Raises Unauthenticated, BadRequest or TokenRefused, and what passes: Unavailable."""
        authorizations = request.headers.getlist("Authorization")
        return self._verifier.verify(bearer.token_of(authorizations, request.query_string.decode("latin-1")))

    def _answer(self, error: AuthsvcError) -> Response:
        answer = bearer.refusal(error, self._verifier.issuer, self._verifier.audience)
        return Response(answer.body, answer.status, answer.headers)
