"""The OAuth 2 and OpenID Connect provider: pages for people on their way to a client, calls for the client itself.

A view below `/oauth/` never lets a cookie alone change anything (guards.py: no rule about the site it came from); what
a person answers on a page goes to `/consent` and `/logout/confirm`.
"""

from authlib.oauth2.rfc6749.errors import OAuth2Error
from flask import Blueprint
from werkzeug.exceptions import HTTPException

from authsvc.core.errors import AuthsvcError
from authsvc.web.oauth import authorize, discovery, logout, refusals, revoke, token, userinfo, words
from authsvc.web.pages import keep_private

people = Blueprint("people", __name__)
for room in (authorize, logout):
    people.register_blueprint(room.blueprint)
people.register_error_handler(OAuth2Error, authorize.refused)
people.after_request(keep_private)
people.add_app_template_filter(words.in_words, "scope_words")

programs = Blueprint("programs", __name__)
for call in (token, revoke, userinfo, discovery):
    programs.register_blueprint(call.blueprint)
programs.register_error_handler(OAuth2Error, refusals.by_protocol)
programs.register_error_handler(AuthsvcError, refusals.by_us)
programs.register_error_handler(HTTPException, refusals.by_http)

blueprint = Blueprint("oauth", __name__)
blueprint.register_blueprint(people)
blueprint.register_blueprint(programs)
