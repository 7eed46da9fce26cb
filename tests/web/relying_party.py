"""A client as the tests play it: what it sends a browser with, and what it asks for itself."""

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from flask.testing import FlaskClient

from authsvc.services import Services

CALLBACK = "https://shop.example/cb"
SCOPE = "openid profile email"


@dataclass
class RelyingParty:
    http: FlaskClient
    id: str
    secret: str | None
    callback: str = CALLBACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    def asked(self, **more: Any) -> dict[str, Any]:
        """The parameters of an authorization request; None leaves one out."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        whole = {
            "response_type": "code", "client_id": self.id, "redirect_uri": self.callback, "scope": SCOPE,
            "state": "a state", "code_challenge": challenge, "code_challenge_method": "S256", **more,
        }  # fmt: skip
        return {name: value for name, value in whole.items() if value is not None}

    def authorize(self, browser: FlaskClient, **more: Any) -> Any:
        return browser.get("/oauth/authorize", query_string=self.asked(**more))

    def code(self, browser: FlaskClient, **more: Any) -> str:
        """A code for whoever is logged in, who agrees if asked."""
        answer = self.authorize(browser, **more)
        if answer.status_code == 200:
            answer = allow(browser, answer)
        return told(answer)["code"]

    def token(self, **fields: Any) -> Any:
        """The token endpoint, as this client."""
        headers = {"Authorization": basic(self.id, self.secret)} if self.secret else {}
        named = {} if self.secret else {"client_id": self.id}
        sent = {name: value for name, value in {**named, **fields}.items() if value is not None}
        return self.http.post("/oauth/token", data=sent, headers=headers)

    def redeem(self, code: str, **more: Any) -> Any:
        fields = {"redirect_uri": self.callback, "code_verifier": self.verifier, **more}
        return self.token(grant_type="authorization_code", code=code, **fields)

    def refresh(self, token: str, **more: Any) -> Any:
        return self.token(grant_type="refresh_token", refresh_token=token, **more)

    def tokens(self, browser: FlaskClient, **more: Any) -> Any:
        """All the way: what the token endpoint answers."""
        answer = self.redeem(self.code(browser, **more))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def userinfo(self, access_token: str) -> Any:
        return self.http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}"})


def registered(services: Services, http: FlaskClient, **more: Any) -> RelyingParty:
    """A new client of somebody else with a secret, unless `more` says otherwise."""
    uris = more.pop("redirect_uris", (CALLBACK,))
    client, secret = services.clients.create("Shop", redirect_uris=uris, **more)
    return RelyingParty(http, client.id, secret, callback=uris[0] if uris else "")


def basic(client_id: str, secret: str) -> str:
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def told(answer: Any) -> dict[str, str]:
    """What a redirect tells the client; each parameter stands once."""
    assert answer.status_code == 303, answer.get_data(as_text=True)
    pairs = parse_qs(urlsplit(answer.headers["Location"]).query, strict_parsing=True)
    assert all(len(values) == 1 for values in pairs.values())
    return {name: values[0] for name, values in pairs.items()}


def hidden(page: Any) -> dict[str, str]:
    """The hidden fields of the form in the middle of a page; the one at its foot chooses the language."""
    main = page.get_data(as_text=True).partition("<main")[2].partition("</main>")[0]
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', main)
    return {name: html.unescape(value) for name, value in found}


def allow(browser: FlaskClient, page: Any, answer: str = "allow") -> Any:
    return browser.post("/consent", data={**hidden(page), "answer": answer})


def said(answer: Any) -> tuple[int, str]:
    """Status and error of a refusal, which no cache may keep."""
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answer.get_json()["error"]
