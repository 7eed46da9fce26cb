"""The log: one line for each thing that happened, whatever is in it."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from authsvc.core import logs, request_ids
from tests.conftest import make_settings

LOGGER = logging.getLogger("authsvc.tests")
Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.OURS}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Lines:
    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


def test_a_line_of_json_holds_all_that_was_said(written: Lines) -> None:
    logs.configure(make_settings(log_format="json"))
    with request_ids.bound("a-request"):
        LOGGER.info("sent %s", "it", extra={"status": 200})
    [line] = written()
    told: dict[str, Any] = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info", "logger": "authsvc.tests", "message": "sent it", "request_id": "a-request", "status": 200
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "json"])
def test_nobody_writes_a_line_of_their_own(kind: str, written: Lines) -> None:
    logs.configure(make_settings(log_format=kind))
    LOGGER.info("asked for %s", "/x\n2026-11-23 [info] you are admin\x1b[2J\u2028", extra={"route": "a\nb"})
    [line] = written()
    assert "\x1b" not in line


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_traceback_does_not_show_what_variables_hold(kind: str, written: Lines) -> None:
    logs.configure(make_settings(log_format=kind))
    password = str(uuid4())
    try:
        len(password, 1)  # type: ignore[call-arg]
    except TypeError:
        LOGGER.exception("failed")
    text = "\n".join(written())
    assert "TypeError" in text
    assert password not in text


def test_libraries_tell_only_what_is_wrong(written: Lines) -> None:
    logs.configure(make_settings())
    logging.getLogger("celery").info("chatter")
    logging.getLogger("celery").warning("trouble")
    LOGGER.debug("chatter")
    [line] = written()
    assert "trouble" in line
