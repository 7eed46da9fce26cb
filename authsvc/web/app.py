"""The Flask application."""

from flask import Flask
from flask_babel import Babel

from authsvc.services import Services
from authsvc.web import (
    accounts,
    errors,
    guards,
    keys,
    languages,
    login,
    oauth,
    openapi,
    ops,
    pages,
    passwords,
    sessions,
    tasks,
    tokens,
)
from authsvc.web.access import Observed
from authsvc.web.body import LARGEST_BODY
from authsvc.web.cookie import SessionInterface
from authsvc.web.gate import Gate
from authsvc.web.introspection import Introspection


def create_app(services: Services) -> Flask:
    app = Flask("authsvc", static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    app.url_map.merge_slashes = False  # its redirect would be built from the Host header
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the default provider has it
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    app.extensions["authsvc"] = services
    Babel(app, locale_selector=languages.chosen)
    app.session_interface = SessionInterface(app, services)
    guards.install(app)
    errors.install(app)
    for room in (login, sessions, accounts, passwords, tokens, keys, tasks, openapi, pages, oauth, ops):
        app.register_blueprint(room.blueprint)
    in_front = Gate(Introspection(app.wsgi_app, services), services)
    app.wsgi_app = Observed(in_front, behind_proxy=bool(services.settings.trusted_proxies))  # type: ignore[method-assign]
    return app
