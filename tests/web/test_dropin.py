"""`AuthSession(app)` for Flask and for Quart: the same store, the same promises, an application's own keys."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from flask import Flask, flash, get_flashed_messages, render_template_string
from flask import session as flask_session
from quart import Quart, websocket
from quart import session as quart_session

from authsvc import flask as for_flask
from authsvc import quart as for_quart
from authsvc.core.crypto import Token, write_token
from authsvc.core.errors import Misconfigured, StorageDown
from authsvc.core.settings import Settings
from authsvc.domain.sessions import Origin
from authsvc.services import Services
from authsvc.web.dropin import DropIn
from tests.servers import Valkey

EMAIL = "anna@example.org"


class Answer(NamedTuple):
    status: int
    json: Any
    headers: Any


class Application:
    """One application in either framework. `ask` is one request with a session's cookie, or a stranger's."""

    def __init__(self, kind: str, settings: Settings, name: str = "shop") -> None:
        self.kind = kind
        self.settings = settings
        self.app: Any = Flask(name) if kind == "flask" else Quart(name)
        (for_flask if kind == "flask" else for_quart).AuthSession(self.app, settings=settings)
        self.session: Any = flask_session if kind == "flask" else quart_session
        self.dropin: DropIn = self.app.extensions["authsvc.session"]
        self._runner = asyncio.Runner()
        self._views: list[Callable[[], Any]] = []
        self.app.add_url_rule("/", "view", self._view, methods=["POST"])
        self.app.add_url_rule("/quiet", "quiet", self._quiet)

    def _view(self) -> Any:
        answer = self._views[-1]()
        return {"answer": answer} if not isinstance(answer, tuple) else answer

    @staticmethod
    def _quiet() -> str:
        return "nobody's"

    def ask(self, view: Callable[[], Any] | None, token: Token | None = None, *, cookie: str = "") -> Answer:
        """A request whose view is that function; without one, of a page that does not look at the session."""
        cookie = write_token(self.dropin.services.keyring, token) if token else cookie
        headers = {"Cookie": f"{self.settings.cookie_name}={cookie}"} if cookie else {}
        path, method = ("/", "POST") if view else ("/quiet", "GET")
        if view:
            self._views.append(view)
        if self.kind == "flask":
            answer = self.app.test_client(use_cookies=False).open(path, method=method, headers=headers)
            return Answer(answer.status_code, answer.get_json(silent=True), answer.headers)
        return self._runner.run(self._ask_quart(path, method, headers))

    async def _ask_quart(self, path: str, method: str, headers: dict[str, str]) -> Answer:
        answer = await self.app.test_client(use_cookies=False).open(path, method=method, headers=headers)
        return Answer(answer.status_code, await answer.get_json(silent=True), answer.headers)

    def value(self, view: Callable[[], Any], token: Token | None = None) -> Any:
        """What the view returned."""
        answer = self.ask(view, token)
        assert answer.status == 200, answer
        return answer.json["answer"]

    def put(self, token: Token, **values: Any) -> None:
        self.value(lambda: self.session.update(values), token)

    def kept(self, token: Token) -> Any:
        return self.value(lambda: dict(self.session), token)

    def close(self) -> None:
        self.dropin.services.close()
        self._runner.close()


@pytest.fixture(params=["flask", "quart"])
def make(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Callable[..., Application]]:
    made: list[Application] = []

    def make(name: str = "shop", **changes: Any) -> Application:
        made.append(Application(request.param, settings.model_copy(update=changes), name))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def shop(make: Callable[..., Application]) -> Application:
    return make()


@pytest.fixture
def token(services: Services) -> Token:
    anna = services.accounts.create(EMAIL, "hash", name="Anna", roles=("b", "a"))
    return services.sessions.create(anna.id, 0, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", "x"))[1]


def test_the_application_knows_who_is_logged_in(shop: Application, token: Token, services: Services) -> None:
    user = shop.value(lambda: list(shop.session.user), token)
    assert user == [services.accounts.get(EMAIL).id, EMAIL, "Anna", ["a", "b"]]
    assert shop.value(lambda: shop.session.user) is None


def test_what_it_keeps_is_there_at_the_next_request_and_can_be_taken_out(shop: Application, token: Token) -> None:
    shop.put(token, cart=[1], theme="dark")
    assert shop.kept(token) == {"cart": [1], "theme": "dark"}
    shop.value(lambda: shop.session["cart"].append(2), token)
    assert shop.kept(token)["cart"] == [1, 2], "also what was changed in place"
    shop.value(lambda: shop.session.pop("theme"), token)
    assert shop.kept(token) == {"cart": [1, 2]}


def test_clear_takes_its_own_keys_and_logs_nobody_out(
    shop: Application, make: Callable[..., Application], token: Token
) -> None:
    other = make("blog")
    shop.put(token, theme="dark")
    other.put(token, theme="light")
    shop.value(lambda: shop.session.clear(), token)  # noqa: PLW0108 - it is bound to a request
    assert shop.kept(token) == {}
    assert other.kept(token) == {"theme": "light"}
    assert shop.value(lambda: shop.session.user.email, token) == EMAIL


@pytest.mark.promise("R1")
def test_a_logout_at_authsvc_is_final_here_at_once(shop: Application, token: Token, services: Services) -> None:
    shop.put(token, cart=[1])
    services.sessions.logout(token)
    assert shop.value(lambda: shop.session.user, token) is None
    assert shop.kept(token) == {}


@pytest.mark.promise("R2")
def test_a_page_that_was_still_loading_does_not_bring_it_back(
    shop: Application, token: Token, services: Services
) -> None:
    def slow() -> None:
        shop.session["cart"] = [1]
        services.sessions.logout(token)

    assert shop.ask(slow, token).status == 200
    assert services.sessions.load(token) is None
    assert shop.value(lambda: shop.session.user, token) is None


@pytest.mark.promise("L1")
def test_two_pages_that_store_at_once_both_keep_it(
    shop: Application, make: Callable[..., Application], token: Token
) -> None:
    other = make()

    def slow() -> None:
        shop.session["cart"] = [1]
        other_session = other.dropin.session(
            f"{other.settings.cookie_name}={write_token(other.dropin.services.keyring, token)}"
        )
        other_session["theme"] = "dark"
        other.dropin.save(other_session)

    assert shop.ask(slow, token).status == 200
    assert shop.kept(token) == {"cart": [1], "theme": "dark"}


# -- as the upstream behaves, and where it does not --------------------------------------------------------------------


def test_who_does_not_look_costs_nothing_and_is_not_marked(shop: Application, valkey: Valkey) -> None:
    valkey.kill()
    answer = shop.ask(None)
    assert answer.status == 200
    assert "Vary" not in answer.headers
    assert "Cache-Control" not in answer.headers


def test_a_forged_cookie_asks_no_store(make: Callable[..., Application]) -> None:
    shop = make(redis_url="unix:///nonexistent.sock", database_url="sqlite:////nonexistent/db")
    assert shop.ask(lambda: bool(shop.session), cookie="A" * 88).json == {"answer": False}


def test_who_looks_is_marked_and_no_cookie_is_ever_set(shop: Application, token: Token) -> None:
    for view in (lambda: shop.session.get("x"), lambda: shop.session.update(x=1), lambda: shop.session.pop("x")):
        answer = shop.ask(view, token)
        assert answer.headers["Vary"] == "Cookie"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers


def test_an_answer_that_says_how_it_may_be_cached_is_left_to_say_so(shop: Application, token: Token) -> None:
    def view() -> Any:
        return {"user": shop.session.user.email}, 200, {"Cache-Control": "private, max-age=5", "Vary": "Accept"}

    answer = shop.ask(view, token)
    assert answer.headers["Cache-Control"] == "private, max-age=5"
    assert {each.strip() for each in answer.headers["Vary"].split(",")} == {"Accept", "Cookie"}


def test_permanent_and_modified_may_be_set_and_change_nothing(shop: Application, token: Token) -> None:
    def view() -> list[Any]:
        shop.session.permanent = True
        shop.session.modified = True
        return [shop.session.permanent, shop.session.new]

    assert shop.value(view, token) == [False, False]
    assert shop.kept(token) == {}


def test_a_stranger_reads_nothing_and_may_not_write(shop: Application) -> None:
    assert shop.value(lambda: [len(shop.session), shop.session.get("x", "nothing"), "x" in shop.session]) == [
        0, "nothing", False,
    ]  # fmt: skip
    answer = shop.ask(lambda: shop.session.update(x=1))
    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"]
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.promise("L3")
def test_when_nobody_can_tell_the_answer_is_503_and_nobody_is_logged_out(
    make: Callable[..., Application], token: Token
) -> None:
    away = make(redis_url="unix:///nonexistent.sock", database_url="sqlite:////nonexistent/db")
    answer = away.ask(lambda: bool(away.session.user), token)
    assert answer.status == 503
    assert answer.headers["Retry-After"]
    assert away.ask(None, token).status == 200, "a page that needs no session does not notice"


@pytest.mark.promise("L3")
def test_an_answer_that_was_made_without_knowing_who_asks_is_not_given(
    make: Callable[..., Application], token: Token
) -> None:
    away = make(redis_url="unix:///nonexistent.sock", database_url="sqlite:////nonexistent/db")

    def careless() -> str:
        with suppress(Exception):
            return f"Hello {away.session.user.email}"
        return "Hello stranger"

    answer = away.ask(careless, token)
    assert answer.status == 503
    assert "stranger" not in str(answer.json)


@pytest.mark.promise("L1")
def test_what_could_not_be_saved_is_not_acknowledged(
    shop: Application, token: Token, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view() -> None:
        shop.session["cart"] = [1]
        monkeypatch.setattr(shop.dropin.services.sessions, "updating", lambda *_, **__: no_sql)

    def no_sql() -> None:
        raise StorageDown

    answer = shop.ask(view, token)
    assert answer.status == 503
    monkeypatch.undo()
    assert shop.kept(token) == {}


def test_what_a_session_cannot_keep_is_said(shop: Application, token: Token) -> None:
    assert shop.ask(lambda: shop.session.update(x=2**80), token).status == 400
    assert shop.value(lambda: shop.session.user.email, token) == EMAIL


def test_an_application_that_cannot_work_does_not_start(settings: Settings) -> None:
    for name in ("", "a:b"):
        with pytest.raises(Misconfigured, match="name"):
            for_flask.AuthSession(Flask("x"), settings=settings, name=name)
    with pytest.raises(Misconfigured, match="AUTHSVC_SECRET_KEYS"):
        for_flask.AuthSession(Flask("x"), settings=settings.model_copy(update={"secret_keys": ()}))


async def test_a_websocket_of_quart_knows_who_it_is_and_may_keep_something(settings: Settings, token: Token) -> None:
    app = Quart("shop")
    for_quart.AuthSession(app, settings=settings)

    @app.websocket("/ws")
    async def ws() -> None:
        quart_session["seen"] = True
        await websocket.send(quart_session.user.email)  # type: ignore[attr-defined]

    dropin: DropIn = app.extensions["authsvc.session"]
    cookie = f"{settings.cookie_name}={write_token(dropin.services.keyring, token)}"
    async with app.test_client().websocket("/ws", headers={"Cookie": cookie}) as socket:
        assert await socket.receive() == EMAIL
        for _ in range(200):  # it is kept when the view is done
            if dropin.session(cookie).get("seen"):
                break
            await asyncio.sleep(0.02)
    assert dropin.session(cookie).get("seen")
    dropin.services.close()


# -- what Flask does with a session by itself --------------------------------------------------------------------------


def test_flashed_messages_come_once_and_templates_know_the_user(settings: Settings, token: Token) -> None:
    shop = Application("flask", settings)
    try:
        shop.value(lambda: flash("saved"), token)
        assert shop.value(get_flashed_messages, token) == ["saved"]
        assert shop.value(get_flashed_messages, token) == []
        assert shop.value(lambda: render_template_string("{{ session.user.email }}"), token) == EMAIL
        assert shop.value(lambda: render_template_string("{{ session.user is none }}")) == "True"
    finally:
        shop.close()


def test_tests_of_an_application_may_write_to_the_session(settings: Settings, token: Token) -> None:
    shop = Application("flask", settings)
    try:
        client = shop.app.test_client()
        client.set_cookie(settings.cookie_name, write_token(shop.dropin.services.keyring, token))
        with client.session_transaction() as opened:
            opened["cart"] = [1]
        assert shop.kept(token) == {"cart": [1]}
    finally:
        shop.close()


def test_a_request_that_looks_counts_as_use(shop: Application, token: Token, services: Services) -> None:
    services.store.clock = shop.dropin.services.store.clock = lambda: time.time() + 3600
    shop.value(lambda: shop.session.user.email, token)
    (listed,) = services.sessions.of_user(services.accounts.get(EMAIL).id)
    assert listed.seen >= listed.created + 3600
