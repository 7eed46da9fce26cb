"""Settings are checked when a process starts, and a refusal says what to set and how."""

import os
import secrets
from pathlib import Path

import pytest

from authsvc.core.errors import Misconfigured
from authsvc.core.redis import SyncRedis
from authsvc.core.settings import MAKE_A_SECRET, SECRET_FILE, Settings
from tests.servers import Valkey

STRONG = "kT3vQ9-wYb7JrXm2_pLh8ZsNcUd5GfEa0iVoR4MqA1y"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AUTHSVC_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, value in variables.items():
        monkeypatch.setenv(f"AUTHSVC_{name.upper()}", value)
    with pytest.raises(Misconfigured) as caught:
        Settings.read().for_service()
    return caught.value.detail


@pytest.mark.promise("B10")
@pytest.mark.parametrize(
    "secret",
    [
        "tooshort",
        STRONG[:31],
        "a" * 64,
        "abababab" * 8,
        "change-me-" + STRONG,
        "CHANGEME" + STRONG,
        "this is an example of a session key 4711",
        "my-super-secret-key-for-the-login-page!",
        "django-insecure-" + STRONG,
        "0123456789" * 4 + "xyz",
    ],
)
def test_a_short_simple_or_known_secret_is_refused_with_how_to_make_one(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = refusal(monkeypatch, public_url="https://login.test", secret_keys=secret)

    assert "AUTHSVC_SECRET_KEYS" in words
    assert MAKE_A_SECRET in words
    assert secret not in words


@pytest.mark.promise("B10")
def test_an_old_weak_secret_behind_a_good_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    words = refusal(monkeypatch, public_url="https://login.test", secret_keys=f"{STRONG},password")

    assert "AUTHSVC_SECRET_KEYS" in words
    assert STRONG not in words


@pytest.mark.promise("B10")
def test_a_service_without_a_secret_is_refused_with_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    words = refusal(monkeypatch, public_url="https://login.test")

    assert "AUTHSVC_SECRET_KEYS" in words
    assert MAKE_A_SECRET in words


@pytest.mark.promise("B10")
def test_a_weak_secret_in_the_instance_folder_is_refused_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("password\n")

    words = refusal(monkeypatch, instance=str(tmp_path), public_url="https://login.test")

    assert MAKE_A_SECRET in words


def test_the_hint_makes_a_secret_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHSVC_SECRET_KEYS", secrets.token_urlsafe(32))

    assert Settings.read().for_storage().keys


def test_secrets_are_read_from_the_instance_folder_where_none_is_set(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text(STRONG + "\n")

    assert Settings.read(instance=tmp_path).keys == (STRONG.encode(),)


def test_secrets_that_are_set_win_over_those_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text(STRONG)
    newer, older = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

    assert Settings.read(instance=tmp_path, secret_keys=f"{newer}, {older}").keys == (newer.encode(), older.encode())


def test_secrets_do_not_show_in_a_representation() -> None:
    assert STRONG not in repr(Settings.read(secret_keys=STRONG))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("public_url", ""),
        ("public_url", "login.example.org"),
        ("public_url", "https://login.example.org/auth"),
        ("public_url", "https://user@login.example.org"),
        ("public_url", "http://login.example.org"),
        ("trusted_origins", "https://app.example.org,app2.example.org"),
        ("redis_url", "localhost:6379"),
        ("redis_url", "redis+sentinel://one:26379"),
        ("broker_url", "redis+cluster://one:7000"),
        ("port", "0"),
        ("port", "http"),
        ("trusted_proxies", "-1"),
        ("idle", "0"),
    ],
)
def test_a_value_that_cannot_work_is_refused_in_words_that_name_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {"secret_keys": STRONG, "public_url": "https://login.test"}

    words = refusal(monkeypatch, **{**good, variable: value})

    assert f"AUTHSVC_{variable.upper()}" in words


@pytest.mark.parametrize("url", ["redis+cluster://one,two", "redis+sentinel://one,two/main"])
def test_a_set_of_servers_needs_one_beside_it_for_the_queues(url: str) -> None:
    with pytest.raises(Misconfigured, match="AUTHSVC_BROKER_URL"):
        Settings.read(redis_url=url)
    assert Settings.read(redis_url=url, broker_url="redis://queues/1").celery_url == "redis://queues/1"


def test_plain_http_is_taken_when_the_operator_insists() -> None:
    settings = Settings.read(public_url="http://login.test", cookie_secure=False, secret_keys=STRONG)

    assert settings.for_service().cookie_name == "session"


def test_origins_are_compared_without_case_default_port_and_slash() -> None:
    settings = Settings.read(public_url="https://Login.Test:443/", trusted_origins="http://[::1]:80")

    assert settings.origins == {"https://login.test", "http://[::1]"}


@pytest.mark.parametrize("folder", ["plain", "with blank & ?#%"])
def test_the_embedded_valkey_is_found_in_any_folder(folder: str, tmp_path: Path, valkey: Valkey) -> None:
    """Also by a path that is relative to where the process runs, for a socket's path must be short."""
    instance = tmp_path / folder
    instance.mkdir()
    settings = Settings.read(instance=instance)
    (instance / "valkey.sock").symlink_to(valkey.socket)

    redis = SyncRedis(settings.hot_url)

    assert redis.execute(("PING",)).values == [b"PONG"]
    assert not settings.valkey_socket.is_absolute()
    redis.close()
