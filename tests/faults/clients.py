"""Clients that log in, look, keep things, log out and end all, and write down what they asked and were told."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, TextIO

PASSWORD = "correct horse battery staple"
PATIENCE = 9.0  # seconds that a client waits for an answer
MOST = 24  # sessions in use at once
ENDED = 8  # of those that were ended last are used on: whether they are refused is what this is about
WEIGHTS = {"login": 12, "check": 40, "read": 18, "save": 22, "logout": 5, "end_all": 1, "spend": 4}
STOCK = WEIGHTS | {"end_all": 0, "spend": 0}  # it has neither


class Book:
    """The history, line by line, in memory and in a file."""

    def __init__(self, file: TextIO) -> None:
        self.lines: list[dict[str, Any]] = []
        self._file = file
        self._ids = count(1)
        self._lock = threading.Lock()

    def write(self, **line: Any) -> None:
        with self._lock:
            self.lines.append(line)
            self._file.write(json.dumps(line) + "\n")

    def invoke(self, op: str, **said: Any) -> int:
        number = next(self._ids)
        self.write(type="invoke", id=number, op=op, time=time.time(), **said)
        return number


@dataclass
class Known:
    """A session that a client has."""

    name: str
    user: str
    cookie: str


class Field:
    """What the clients share: sessions that are in use, and tokens that may be spent."""

    def __init__(self, book: Book, ports: list[int], users: dict[str, str], mint: Callable[[], str]) -> None:
        self.book = book
        self.ports = ports
        self.users = users  # email -> id
        self.mint = mint
        self.sessions: list[Known] = []
        self.ended: list[Known] = []
        self.tokens: list[str] = []
        self.names = count(1)
        self.stop = threading.Event()

    def end(self, gone: list[Known]) -> None:
        self.sessions = [each for each in self.sessions if each not in gone]
        self.ended = [*self.ended, *gone][-ENDED:]


class Client(threading.Thread):
    def __init__(self, field: Field, seed: str, weights: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self._field = field
        self._chance = random.Random(seed)
        self._weights = weights

    def run(self) -> None:
        while not self._field.stop.is_set():
            (op,) = self._chance.choices(list(self._weights), list(self._weights.values()))
            if op == "spend":
                self.spend()
            elif op == "login" or not self._field.sessions:
                if len(self._field.sessions) < MOST:
                    self.login()
            elif op in ("logout", "end_all") or self._chance.random() < 0.8:
                getattr(self, op)(self._chance.choice(self._field.sessions or self._field.ended))
            else:
                getattr(self, op)(self._chance.choice(self._field.ended or self._field.sessions))

    def login(self) -> None:
        email, user = self._chance.choice(list(self._field.users.items()))
        number = self._field.book.invoke("login", user=user)
        status, answer, cookie = self._call("POST", "/api/login", {"email": email, "password": PASSWORD})
        if status != 200 or not cookie:
            self._told(number, "unknown", status=status)
            return
        session = Known(f"s{next(self._field.names)}", user, cookie)
        self._told(number, "ok", session=session.name, sid=answer["session"]["sid"])
        self._field.sessions.append(session)

    def check(self, session: Known) -> None:
        self._use("check", session, "GET", "/api/session")

    def read(self, session: Known, *, last: bool = False) -> bool:
        return self._use("read", session, "GET", "/kept", **({"last": True} if last else {}))

    def save(self, session: Known) -> None:
        key = f"{session.name} {self._chance.randrange(10**9)}"
        self._use("save", session, "POST", "/kept", {"key": key}, key=key)

    def logout(self, session: Known) -> None:
        number = self._field.book.invoke("logout", session=session.name)
        self._ended(number, *self._call("POST", "/api/logout", {}, session.cookie)[:2])
        self._field.end([session])

    def end_all(self, session: Known) -> None:
        number = self._field.book.invoke("end_all", user=session.user)
        status, answer, _ = self._call("DELETE", "/api/sessions?all=true", None, session.cookie)
        self._ended(number, status, answer)
        self._field.end([each for each in self._field.sessions if each.user == session.user])

    def spend(self) -> None:
        """One of the last tokens, or a new one: several clients may try the same at once."""
        tokens = self._field.tokens
        if not tokens or self._chance.random() < 0.3:
            try:
                tokens.append(self._field.mint())
            except Exception:  # noqa: BLE001 - whatever the store in trouble raises: there is none to spend then
                return
        token = self._chance.choice(tokens[-3:])
        number = self._field.book.invoke("spend", token=token)
        status, _, _ = self._call("POST", "/api/password/reset", {"token": token, "password": PASSWORD + "!"})
        self._told(number, {204: "ok", 202: "ok", 400: "fail"}.get(status, "unknown"), status=status)

    def _use(self, op: str, session: Known, method: str, path: str, body: Any = None, **said: Any) -> bool:
        number = self._field.book.invoke(op, session=session.name, **said)
        status, answer, _ = self._call(method, path, body, session.cookie)
        if status == 200:
            user = answer["user"]
            saw = user["id"] if isinstance(user, dict) else user
            more = {name: answer[name] for name in ("data", "missed") if name in answer}
            self._told(number, "ok", saw=saw, **more)
        else:
            self._told(number, "fail" if status == 401 else "unknown", status=status)
        return status in (200, 401)

    def _ended(self, number: int, status: int, answer: Any) -> None:
        if status == 202:
            by = time.mktime(time.strptime(answer["final_by"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
            self._told(number, "ok", final_by=by + 1)  # whole seconds
        else:
            self._told(number, "ok" if status in (200, 204) else "fail" if status == 401 else "unknown", status=status)

    def _told(self, number: int, result: str, **answer: Any) -> None:
        self._field.book.write(type=result, id=number, time=time.time(), **answer)

    def _call(self, method: str, path: str, body: Any, cookie: str = "") -> tuple[int, Any, str]:
        """Status (0: no answer), JSON, and the session's cookie if the answer sets one."""
        headers = {"Content-Type": "application/json"} | ({"Cookie": cookie} if cookie else {})
        connection = http.client.HTTPConnection("127.0.0.1", self._chance.choice(self._field.ports), timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            cookies = [value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie"]
            own = next((each for each in cookies if each.startswith("session=")), "")
            if answer.status == 503:
                time.sleep(0.02)  # a part is down: it is not hammered
            missed = {"missed": True} if answer.getheader("X-Missed") else {}
            return answer.status, json.loads(text) | missed if text and answer.status < 300 else None, own
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)  # nor is a process that is being started again
            return 0, None, ""
        finally:
            connection.close()
