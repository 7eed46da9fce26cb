"""Tokens and tags: only what we made is ours, in one spelling, under each of our secrets and for one purpose."""

import base64
import hashlib
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.core.crypto import (
    SECRET_BYTES,
    TAG_BYTES,
    TOKEN_CHARS,
    Keyring,
    b64url,
    cookie_values,
    device_cookie,
    known_device,
    new_id,
    new_token,
    pseudonym,
    read_token,
    unb64url,
    write_token,
)

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)
KEYRING = Keyring((NEW,))
URL_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_token_is_read_as_it_was_written() -> None:
    token = new_token()
    value = write_token(KEYRING, token)

    assert read_token(KEYRING, value) == token
    assert len(value) == TOKEN_CHARS == 88
    assert set(value) <= set(URL_SAFE)
    assert len(token.secret) == SECRET_BYTES == 32
    assert token.hash == hashlib.sha256(token.secret).digest()


@pytest.mark.promise("B2")
def test_a_token_with_any_bit_flipped_is_refused() -> None:
    raw = base64.urlsafe_b64decode(write_token(KEYRING, new_token()))
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        assert read_token(KEYRING, b64url(bytes(flipped))) is None, bit


@pytest.mark.promise("B2")
def test_a_token_of_another_length_is_refused() -> None:
    value = write_token(KEYRING, new_token())
    for other in [value[:length] for length in range(len(value))] + [value + "A", value + "=", value * 2]:
        assert read_token(KEYRING, other) is None


@pytest.mark.promise("B1")
def test_a_token_has_one_spelling() -> None:
    values = (write_token(KEYRING, new_token()) for _ in range(1000))
    value = next(value for value in values if "-" in value and "_" in value)
    others = [value.replace("-", "+"), value.replace("_", "/"), value[:-1] + "=", " " + value[1:], value[:-1] + "\n"]
    others += [value[:-1] + char for char in '\0;,"\\ä\ud800\N{FULLWIDTH LATIN CAPITAL LETTER A}']
    for other in others:
        assert read_token(KEYRING, other) is None, other


@pytest.mark.promise("B1")
@given(st.text(max_size=100) | st.text(alphabet=URL_SAFE, min_size=TOKEN_CHARS, max_size=TOKEN_CHARS))
def test_no_text_is_a_token_or_an_error(text: str) -> None:
    assert read_token(KEYRING, text) is None
    assert known_device(KEYRING, "user", text) is False


@given(st.binary(max_size=70))
def test_bytes_are_read_as_they_were_written_where_there_is_no_padding(raw: bytes) -> None:
    assert unb64url(b64url(raw)) == (raw if len(raw) % 3 == 0 else None)


def test_a_new_secret_in_front_logs_nobody_out() -> None:
    token = new_token()
    value = write_token(Keyring((OLD,)), token)

    assert read_token(Keyring((NEW, OLD)), value) == token
    assert read_token(Keyring((NEW,)), value) is None


def test_the_first_secret_is_the_one_that_makes_tags() -> None:
    value = write_token(Keyring((NEW, OLD)), new_token())

    assert read_token(Keyring((NEW,)), value)
    assert read_token(Keyring((OLD,)), value) is None


def test_a_tag_for_one_purpose_is_none_for_another() -> None:
    tag = KEYRING.tag("one", b"message")

    assert len(tag) == TAG_BYTES
    assert KEYRING.accepts("one", b"message", tag)
    assert not KEYRING.accepts("other", b"message", tag)
    assert not KEYRING.accepts("one", b"another message", tag)


@pytest.mark.parametrize("tag", [b"", b"\0", bytes(TAG_BYTES), bytes(TAG_BYTES + 1)])
def test_a_tag_of_another_length_is_refused(tag: bytes) -> None:
    assert not KEYRING.accepts("one", b"message", tag)


def test_a_keyring_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        Keyring(())


def test_ids_and_secrets_are_never_the_same_twice() -> None:
    tokens = [new_token() for _ in range(1000)]

    assert len({token.sid for token in tokens}) == len({token.secret for token in tokens}) == 1000
    assert len(new_id()) == 22


def test_rotation_keeps_the_sid() -> None:
    token = new_token()
    newer = new_token(token.sid)

    assert newer.sid == token.sid
    assert newer.secret != token.secret


def test_a_device_is_known_to_the_user_who_logged_in_from_it() -> None:
    cookie = device_cookie(KEYRING, "anna")

    assert known_device(KEYRING, "anna", cookie)
    assert not known_device(KEYRING, "eve", cookie)
    assert not known_device(KEYRING, "", cookie)
    assert not known_device(Keyring((OLD,)), "anna", cookie)


def test_a_pseudonym_is_stable_and_takes_any_text() -> None:
    assert pseudonym(KEYRING, "anna") == pseudonym(KEYRING, "anna") != pseudonym(KEYRING, "Anna")
    assert pseudonym(KEYRING, "anna") != pseudonym(Keyring((OLD,)), "anna")
    assert len(pseudonym(KEYRING, "\ud800\0")) <= 32


def test_every_value_that_a_cookie_header_gives_a_name_is_found() -> None:
    header = "a=1; session=x; other=y;session=z ; xsession=no; session"

    assert cookie_values(header, "session") == ["x", "z", ""]
    assert cookie_values("", "session") == []


@pytest.mark.promise("B7")
@given(st.binary(max_size=200))
def test_what_is_sealed_is_opened_for_its_purpose_alone_and_with_nothing_changed(message: bytes) -> None:
    sealed = KEYRING.seal("a purpose", message)

    assert KEYRING.unseal("a purpose", sealed) == message
    assert KEYRING.seal("a purpose", message) != sealed
    assert KEYRING.unseal("another", sealed) is None
    assert Keyring((OLD,)).unseal("a purpose", sealed) is None
    for position in range(len(sealed)):
        changed = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        assert KEYRING.unseal("a purpose", changed) is None
    assert KEYRING.unseal("a purpose", sealed[:-1]) is None
    assert KEYRING.unseal("a purpose", b"") is None


def test_what_an_older_secret_has_sealed_is_still_opened() -> None:
    sealed = Keyring((OLD,)).seal("a purpose", b"message")

    assert Keyring((NEW, OLD)).unseal("a purpose", sealed) == b"message"
