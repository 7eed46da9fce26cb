"""For services that are called with access tokens of authsvc: who calls, and whether they still may.

It stands on httpx, httpx-sse and joserfc alone; nothing of the server comes along.
"""

from authsvc.sdk.async_verifier import AsyncVerifier
from authsvc.sdk.caller import Caller
from authsvc.sdk.verifier import Verifier

__all__ = ["AsyncVerifier", "Caller", "Verifier"]
