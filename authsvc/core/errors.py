"""Every way in which authsvc says no.

    AuthsvcError
    ├── BadRequest              the request is malformed
    │   ├── InvalidFields       fields of the body are missing or wrong
    │   ├── TokenInvalid        a link or code of a mail is used, expired, or was never ours
    │   ├── ClientRefused       no application that we know is to be answered at that address
    │   ├── GrantRefused        a code or refresh token of an application is not good, or no longer
    │   ├── ScopeRefused        an application asks for scopes that it cannot have
    │   └── Irrevocable         a token of a kind that no application can revoke
    ├── Unauthenticated         nobody is logged in here
    │   └── InvalidCredentials  the email or the password is wrong
    ├── TokenRefused            an access token that is not valid here, or no longer; `reason` is one word
    ├── InsufficientScope       the token is good, and does not allow this
    ├── InsufficientAuthentication  the login behind the token is too long ago (RFC 9470)
    ├── EmailUnverified         the password is right, and the email is not yet confirmed
    ├── StepUpRequired          the login is too long ago for this; prove again who you are
    ├── Forbidden               this is not for you, whatever you prove
    ├── CrossSite               a write that came from another site
    ├── NotFound                no such thing, or it is not yours
    ├── TooMany                 there are as many of these as there may be
    ├── EmailTaken              an account with this email exists
    ├── RateLimited             too often; try again after `retry_after` seconds
    ├── Unavailable             a part is down; try again after `retry_after` seconds
    │   ├── StorageDown         SQL does not answer
    │   ├── RedisDown           Redis does not answer (SQL takes over; users never see it)
    │   ├── Busy                more logins than this machine can hash
    │   ├── IssuerDown          a verifier has no keys, for the issuer of the tokens does not answer
    │   ├── KeysRefused         the keys that an issuer publishes are not fit to check signatures with
    │   └── RevocationsUnknown  a verifier does not hear which tokens have been revoked
    └── Misconfigured           the service refuses to start like this

An error carries a stable word (`code`) and a sentence; the edges (`web/errors.py`, `bridge/protocol.py`) carry
the numbers.
"""

from typing import ClassVar, NamedTuple


class AuthsvcError(Exception):
    code: ClassVar[str] = "error"
    sentence: ClassVar[str] = "Something went wrong."

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.sentence
        super().__init__(self.detail)


class BadRequest(AuthsvcError):
    code = "bad_request"
    sentence = "The request could not be understood."


class FieldError(NamedTuple):
    """What is wrong with one field. `message` never repeats the value that was sent."""

    field: str
    code: str
    message: str


class InvalidFields(BadRequest):
    code = "invalid_fields"
    sentence = "Some fields are missing or not valid."

    def __init__(self, *errors: FieldError) -> None:
        super().__init__()
        self.errors = errors


class TokenInvalid(BadRequest):
    code = "token_invalid"
    sentence = "This link or code was used before, has expired, or is not complete. Ask for a new mail."


class ClientRefused(BadRequest):
    code = "client_refused"
    sentence = "The application that sent you here is not known, or does not use this address."


class GrantRefused(BadRequest):
    """In `detail` it is told why, for the user (RFC 6749, 5.2: printable ASCII without quotation marks)."""

    code = "invalid_grant"
    sentence = "This code or refresh token is not valid."


class ScopeRefused(BadRequest):
    code = "invalid_scope"
    sentence = "These scopes cannot be granted."


class Unauthenticated(AuthsvcError):
    code = "unauthenticated"
    sentence = "Nobody is logged in here. Log in first."


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    sentence = "The email or the password is wrong."


class TokenRefused(AuthsvcError):
    """`reason` is a stable word, for logs and counters: malformed, unknown_key, algorithm, signature, type, issuer,
    audience, expired, not_yet, lifetime, revoked. Whoever sent the token learns none of it."""

    code = "invalid_token"
    sentence = "This access token is not valid, or no longer."

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class InsufficientScope(AuthsvcError):
    """`scope` is what would be needed, as in RFC 6750, 3."""

    code = "insufficient_scope"
    sentence = "This access token does not allow that."

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope


class InsufficientAuthentication(AuthsvcError):
    """`max_age` is how long ago a login may be, in seconds."""

    code = "insufficient_user_authentication"
    sentence = "The login was too long ago for this. Prove again who you are, and come with a new token."

    def __init__(self, max_age: int) -> None:
        super().__init__()
        self.max_age = max_age


class EmailUnverified(AuthsvcError):
    """`flow` takes the code of the mail that was sent because of this."""

    code = "email_unverified"
    sentence = "Confirm your email first: we have sent you a mail with a link and a code."

    def __init__(self, flow: str = "") -> None:
        super().__init__()
        self.flow = flow


class StepUpRequired(AuthsvcError):
    code = "step_up_required"
    sentence = "For this, prove again that it is you."


class Forbidden(AuthsvcError):
    code = "forbidden"
    sentence = "Your account may not do this."


class CrossSite(AuthsvcError):
    code = "cross_site"
    sentence = "This request came from another site and was not carried out."


class NotFound(AuthsvcError):
    code = "not_found"
    sentence = "There is nothing here."


class Irrevocable(BadRequest):
    """In `detail` it is told what to do instead (RFC 7009, 2.2.1)."""

    code = "unsupported_token_type"
    sentence = "Tokens of this kind cannot be revoked."


class TooMany(AuthsvcError):
    code = "too_many"
    sentence = "There are as many of these as there may be. Remove one first."


class EmailTaken(AuthsvcError):
    code = "email_taken"
    sentence = "An account with this email exists already."


class RetryLater(AuthsvcError):
    """Base of the errors that pass by themselves. `retry_after` is in seconds."""

    def __init__(self, detail: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class RateLimited(RetryLater):
    code = "rate_limited"
    sentence = "Too many failed attempts. Wait a while, then try again."


class Unavailable(RetryLater):
    code = "unavailable"
    sentence = "The service cannot answer right now. Try again in a moment."


class StorageDown(Unavailable):
    code = "storage_unavailable"
    sentence = "The database cannot be reached right now. Try again in a moment."


class RedisDown(Unavailable):
    code = "redis_unavailable"
    sentence = "Redis cannot be reached right now. Try again in a moment."


class Busy(Unavailable):
    code = "busy"
    sentence = "Too many people are logging in at this moment. Try again in a few seconds."


class IssuerDown(Unavailable):
    code = "issuer_unavailable"
    sentence = "Access tokens cannot be checked right now. Try again in a moment."


class KeysRefused(Unavailable):
    code = "keys_refused"
    sentence = "The keys of the issuer of access tokens are not usable."


class RevocationsUnknown(Unavailable):
    code = "revocations_unknown"
    sentence = "It is not known right now which access tokens have been revoked. Try again in a moment."


class Misconfigured(AuthsvcError):
    code = "misconfigured"
    sentence = "The settings are not usable."
