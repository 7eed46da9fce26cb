"""The request of a client at the authorization endpoint (RFC 6749, 4.1.1; OpenID Connect Core, 3.1.2.1), read strictly.

Authlib has the words for what is wrong; that it takes more than we do (PKCE `plain` or none, some parameters that stand
twice) is why it is read here. Until client and address are known to belong together nobody is redirected; from then on
whatever is wrong is told to the client.
"""

import re
from dataclasses import dataclass
from typing import TypeVar

from authlib.oauth2.rfc6749.errors import (
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedResponseTypeError,
)
from authlib.oidc.core.errors import (
    RegistrationNotSupportedError,
    RequestNotSupportedError,
    RequestURINotSupportedError,
)
from werkzeug.datastructures import MultiDict

from authsvc.core import scopes
from authsvc.core.errors import ClientRefused
from authsvc.domain.clients import CODE, Client
from authsvc.domain.codes import Request
from authsvc.domain.redirects import may_redirect
from authsvc.web.guards import services

PROMPTS = ("none", "login", "consent", "select_account")
PRINTABLE = re.compile(r"[\x20-\x7e]+")  # RFC 6749, appendix A.5
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # SHA-256 in base64url (RFC 7636, 4.2)
SECONDS = re.compile(r"[0-9]{1,9}")
LONGEST_NONCE = 512
REFUSED = {
    "request": RequestNotSupportedError,
    "request_uri": RequestURINotSupportedError,
    "registration": RegistrationNotSupportedError,
}

E = TypeVar("E", bound=OAuth2Error)
Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request that is in order. `max_age` in seconds."""

    client: Client
    of: Request
    state: str | None
    prompt: frozenset[str]
    max_age: int | None
    login_hint: str
    id_token_hint: str

    def refused(self, error: E) -> E:
        """An error that the client is told of."""
        return addressed(error, self.of.redirect_uri, self.state)


def addressed(error: E, redirect_uri: str, state: str | None) -> E:
    error.redirect_uri, error.state = redirect_uri, state
    return error


def read(asked: MultiDict[str, str]) -> Wanted:
    """Raises ClientRefused, which is shown to the user, or an OAuth2Error with the address that it goes to."""
    client, redirect_uri = _addressee(asked)
    state = _state(asked)
    try:
        return _read(client, redirect_uri, state, asked)
    except OAuth2Error as error:
        raise addressed(error, redirect_uri, state) from None


def _addressee(asked: MultiDict[str, str]) -> tuple[Client, str]:
    ids, uris = asked.getlist("client_id"), asked.getlist("redirect_uri")
    client = services().clients.find(ids[0]) if len(ids) == len(uris) == 1 else None
    if client is None or not may_redirect(client, uris[0]):
        raise ClientRefused
    return client, uris[0]


def _state(asked: MultiDict[str, str]) -> str | None:
    states = asked.getlist("state")
    return states[0] if len(states) == 1 and PRINTABLE.fullmatch(states[0]) else None


def _read(client: Client, redirect_uri: str, state: str | None, asked: MultiDict[str, str]) -> Wanted:
    if any(len(values) > 1 for values in asked.listvalues()):
        raise InvalidRequestError("A parameter stands twice.")
    fields = {name: value for name, value in asked.items() if value}  # without a value is without (RFC 6749, 3.1)
    for name, error in REFUSED.items():
        if name in fields:
            raise error
    if state is None and "state" in fields:
        raise InvalidRequestError("state must be printable ASCII.")
    _check_response(client, fields)
    challenge, nonce = _challenge(fields), _nonce(fields)
    request = Request(client.id, redirect_uri, _scopes(client, fields), audience(client, fields), challenge, nonce)
    prompt, max_age = _prompt(fields), _max_age(fields)
    return Wanted(
        client, request, state, prompt, max_age, fields.get("login_hint", ""), fields.get("id_token_hint", "")
    )


def _check_response(client: Client, fields: Fields) -> None:
    if "response_type" not in fields:
        raise InvalidRequestError("response_type is missing.")
    if fields["response_type"] != "code":
        raise UnsupportedResponseTypeError("")
    if fields.get("response_mode", "query") != "query":
        raise InvalidRequestError("response_mode must be query.")
    if CODE not in client.grant_types:
        raise UnauthorizedClientError("This client does not log people in.")


def _challenge(fields: Fields) -> str:
    challenge = fields.get("code_challenge", "")
    if fields.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
        raise InvalidRequestError("PKCE is required: code_challenge with code_challenge_method=S256 (RFC 7636).")
    return challenge


def _nonce(fields: Fields) -> str | None:
    nonce = fields.get("nonce")
    if nonce is not None and not (len(nonce) <= LONGEST_NONCE and PRINTABLE.fullmatch(nonce)):
        raise InvalidRequestError("nonce must be printable ASCII of at most 512 characters.")
    return nonce


def _scopes(client: Client, fields: Fields) -> tuple[str, ...]:
    known = scopes.allowed(services().settings)
    return chosen(tuple(scope for scope in client.scopes if scope in known), fields)


def chosen(may: tuple[str, ...], fields: Fields) -> tuple[str, ...]:
    """The scopes that are asked for, each once; all that the client may have if it names none (RFC 6749, 3.3)."""
    wanted = tuple(dict.fromkeys(fields["scope"].split(" "))) if "scope" in fields else may
    if not set(wanted) <= set(may):
        raise InvalidScopeError
    return wanted


def audience(client: Client, fields: Fields) -> str:
    """For whom the tokens are to be: `resource` (RFC 8707) or `audience` says it, the issuer otherwise, or the client's
    first if that is none of its audiences."""
    issuer = services().settings.public_url
    wanted = {fields[name] for name in ("resource", "audience") if name in fields}
    if not wanted:
        return issuer if issuer in client.audiences else client.audiences[0]
    if len(wanted) > 1 or not wanted <= set(client.audiences):
        raise OAuth2Error(error="invalid_target", description="The client may not have tokens for this audience.")
    return wanted.pop()


def _prompt(fields: Fields) -> frozenset[str]:
    prompt = frozenset(fields.get("prompt", "").split())
    if not prompt <= set(PROMPTS) or (len(prompt) > 1 and "none" in prompt):
        raise InvalidRequestError("prompt is none, or some of login, consent and select_account.")
    return prompt


def _max_age(fields: Fields) -> int | None:
    if "max_age" not in fields:
        return None
    if not SECONDS.fullmatch(fields["max_age"]):
        raise InvalidRequestError("max_age is a number of seconds.")
    return int(fields["max_age"])
