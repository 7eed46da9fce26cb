"""Whatever lies under a session's key: it is never believed, never crashes a reader, and the row takes its place."""

import pickle
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from authsvc.core import store
from authsvc.core.crypto import Token
from tests.contract.conftest import Reader, put_back, value_of
from tests.contract.schedule import Process
from tests.servers import Valkey


class Bomb:
    """What goes off when it is unpickled."""

    exploded = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return setattr, (Bomb, "exploded", True)


def changed(value: bytes, index: int, new: Any) -> bytes:
    """The copy with another field."""
    fields = msgpack.unpackb(value)
    fields[index] = new
    packed: bytes = msgpack.packb(fields)
    return packed


GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "random": lambda _: b"\x93\x01\xc1\xff\x00random",
    "text": lambda _: b'{"sid": "x"}',
    "mark": lambda _: store.FILLING + b"0123456789abcdef",
    "half a mark": lambda _: b"fill",
    "almost ended": lambda _: store.ENDED + b" ",
    "pickle": lambda _: pickle.dumps(Bomb()),
    "older layout": lambda value: changed(value, 0, 0),
    "newer layout": lambda value: changed(value, 0, 2),
    "one field less": lambda value: msgpack.packb(msgpack.unpackb(value)[:-1]),
    "one field more": lambda value: msgpack.packb([*msgpack.unpackb(value), 1]),
    "cut off": lambda value: value[:-1],
    "followed by more": lambda value: value + b"\x00",
    "head alone": lambda value: value[:3],
    "a forbidden map key": lambda value: value[:3] + b"\x81\x90\x01" + value[4:],
    "no utf-8": lambda value: value.replace(b"Anna", b"\xff\xfe\xfd\xfc"),
    "deep": lambda value: changed(value, 14, 0)[:-20] + b"\x91" * 5000,
    **{f"field {index} is none": lambda value, index=index: changed(value, index, None) for index in range(18)},
    **{f"field {index} is true": lambda value, index=index: changed(value, index, True) for index in range(18)},
}


@pytest.mark.promise("L2")
def test_garbage_is_read_anew_from_sql(web: Process, reader: Reader, token: Token, valkey: Valkey) -> None:
    good = web.load(token)
    value = value_of(valkey, token) or b""
    for kind, garbage in GARBAGE.items():
        put_back(valkey, token, garbage(value))
        assert reader.load(token) == good, kind

        reader.asked.clear()
        assert reader.load(token) == good, kind
        assert reader.asked == ["GET"], kind
    assert not Bomb.exploded


def test_garbage_does_not_stand_in_the_way_of_a_logout(web: Process, reader: Reader, user: str, valkey: Valkey) -> None:
    for kind, garbage in GARBAGE.items():
        token = web.log_in(user)
        web.load(token)
        put_back(valkey, token, garbage(value_of(valkey, token) or b""))

        assert web.sessions.logout(token).final_by is None

        assert value_of(valkey, token) == store.ENDED, kind
        assert reader.load(token) is None, kind


def test_a_key_of_another_type_counts_as_an_error_of_redis(reader: Reader, token: Token, valkey: Valkey) -> None:
    with valkey.client() as client:
        client.lpush(store.key_of(token.sid), "x")

    assert reader.load(token)
    assert "EVAL" not in reader.asked


def test_a_copy_of_another_session_counts_as_an_error_of_redis(
    web: Process, reader: Reader, token: Token, user: str, valkey: Valkey
) -> None:
    """As after a command that was cancelled, whose answer the next caller reads."""
    other = web.log_in(user)
    web.load(other)
    foreign = value_of(valkey, other)
    put_back(valkey, token, foreign)

    session = reader.load(token)

    assert session
    assert session.sid == token.sid
    assert reader.asked[:2] == ["GET", "SQL"]
    assert "EVAL" not in reader.asked
    assert value_of(valkey, token) == foreign
