"""What stands around every view: who calls, from which site, and the headers of every answer."""

import ipaddress
from typing import cast

import ua_parser
from flask import Flask, Response, current_app, g, request, session
from werkzeug.exceptions import RequestEntityTooLarge

from authsvc.core import session as rules
from authsvc.core.crypto import Token
from authsvc.core.errors import CrossSite, StepUpRequired, Unauthenticated
from authsvc.core.session import Session
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.services import Services
from authsvc.web.cookie import CookieSession

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
]
API_HEADERS = [("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"), *HEADERS]
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
PAGE_HEADERS = [("Content-Security-Policy", PAGE_POLICY), *HEADERS]
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OAUTH = "/oauth/"  # no view below it lets a cookie alone change anything
ANY_ORIGIN = ("/oauth/token", "/oauth/userinfo", "/oauth/revoke", "/.well-known/")  # these look at no cookie
FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def install(app: Flask) -> None:
    app.before_request(check_write)
    app.after_request(add_headers)


def services() -> Services:
    return cast("Services", current_app.extensions["authsvc"])


def cookie_session() -> CookieSession:
    return cast("CookieSession", session._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - a proxy


def who() -> Session | None:
    """The session of this request, or None for a stranger."""
    return cookie_session().record


def required() -> Session:
    """The session of this request. Raises Unauthenticated."""
    record = who()
    if record is None:
        raise Unauthenticated
    return record


def fresh() -> Session:
    """The session of this request, whose user has proved not long ago who they are. Raises Unauthenticated or
    StepUpRequired."""
    record = required()
    parts = services()
    if not rules.fresh(record, parts.store.clock(), parts.settings.step_up):
        raise StepUpRequired
    return record


def go_on(token: Token) -> None:
    """The session of this request has a new token; the browser keeps it as long as it would have kept the old one."""
    record, settings = required(), services().settings
    lives = (record.idle, record.absolute)
    remembered = lives == settings.lifetimes(remember=True) != settings.lifetimes(remember=False)
    cookie_session().renew(token, remember=remembered)


def caller() -> Caller:
    settings = services().settings
    device_cookie = request.cookies.get(settings.device_cookie_name, "")
    origin = Origin(client_ip(), device_name(request.user_agent.string))
    return Caller(origin, device_cookie, cookie_session().token)


def client_ip() -> str:
    """The address of the client, as told by as many proxies as the operator has set, and by nobody else."""
    hops = services().settings.trusted_proxies
    forwarded = [part.strip() for part in ",".join(request.headers.getlist("X-Forwarded-For")).split(",")]
    address = forwarded[-hops] if hops and len(forwarded) >= hops else request.remote_addr or ""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return request.remote_addr or ""


def device_name(user_agent: str) -> str:
    """A name that a person recognises in a list, such as `Firefox on Linux`."""
    seen = ua_parser.parse(user_agent[:512])
    browser = seen.user_agent.family if seen.user_agent else ""
    system = seen.os.family if seen.os else ""
    return " on ".join(filter(None, (browser, system)))[:100] or "Unknown device"


def check_write() -> None:
    if request.method in SAFE_METHODS:
        return
    if (request.content_length or 0) > current_app.config["MAX_CONTENT_LENGTH"]:  # also where no view reads the body
        raise RequestEntityTooLarge
    if not request.path.startswith(OAUTH):
        refuse_cross_site()


def refuse_cross_site() -> None:
    """A page of another site can make a browser send a write with our cookie; the browser says so in headers.

    Without those headers it is no browser of the last years; then a body that no form can send (or none) is asked for
    wherever a cookie is sent along.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site == "same-origin" or origin in services().settings.origins:
        return
    if site is None and origin is None and not (_carries_our_cookie() and _a_form_could_send_it()):
        return
    raise CrossSite


def _carries_our_cookie() -> bool:
    return services().settings.cookie_name in request.cookies


def _a_form_could_send_it() -> bool:
    if request.method != "POST":
        return False
    return request.mimetype in FORM_TYPES or (not request.mimetype and bool(request.content_length))


def let_form_end_at(source: str) -> None:
    """The form of this page leads to a client's address in the end, and browsers ask the policy of the page about each
    redirect after a form. `source` is that address as domain/redirects.py says it."""
    g.form_ends_at = source


def add_headers(response: Response) -> Response:
    settings = services().settings
    response.headers.extend(PAGE_HEADERS if response.mimetype == "text/html" else API_HEADERS)
    if source := g.get("form_ends_at"):
        response.content_security_policy.form_action = f"'self' {source}"
    if request.path.startswith(ANY_ORIGIN):
        _allow_any_origin(response)
    if settings.public_url.startswith("https://"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if settings.trusted_origins and request.path.startswith("/api/"):
        _allow_trusted_origin(response, settings.trusted_origins)
    return response


def _allow_any_origin(response: Response) -> None:
    """CORS without credentials (Fetch standard, 3.2): a page of any site may ask, and shows what it has itself."""
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Max-Age"] = "600"


def _allow_trusted_origin(response: Response, trusted: tuple[str, ...]) -> None:
    """CORS with credentials for other origins of the same site (Fetch standard, 3.2)."""
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin not in trusted:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Allow-Credentials"] = "true"
    response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    response.headers["Cross-Origin-Resource-Policy"] = "same-site"
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
        response.headers["Access-Control-Allow-Headers"] = "Content-Type"
        response.headers["Access-Control-Max-Age"] = "600"
