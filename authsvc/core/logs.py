"""One format for all that we and our libraries log: text for people, or one JSON object a line for programs.

Code logs through `logging.getLogger(__name__)`, with what a search may want as fields in `extra`. Never in a log:
passwords, tokens, cookies, codes, query strings; an email only as its pseudonym.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name

from authsvc.core import request_ids
from authsvc.core.settings import Settings

OURS = ("authsvc", "bridge")  # the loggers that tell more than warnings
FIRST = ("time", "level", "logger", "message", "request_id")

Line = MutableMapping[str, Any]


def configure(settings: Settings) -> None:
    """Send what is logged from here on to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(settings.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def formatter(kind: str) -> logging.Formatter:
    """`kind` is a value of the setting `log_format`."""
    told: list[Any] = [
        ExtraAdder(), add_logger_name, add_log_level, _add_request_id,
        structlog.processors.TimeStamper("iso", key="time"), structlog.processors.EventRenamer("message"),
    ]  # fmt: skip
    last: list[Any]
    if kind == "json":
        last = [structlog.processors.format_exc_info, _ordered, structlog.processors.JSONRenderer(default=str)]
    else:
        last = [_one_line, _for_people()]
    return ProcessorFormatter(
        foreign_pre_chain=told, processors=[ProcessorFormatter.remove_processors_meta, *last], use_get_message=True
    )


def _for_people() -> structlog.dev.ConsoleRenderer:
    """Tracebacks are plain: prettier ones show the values of variables, passwords among them."""
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0,
        event_key="message", timestamp_key="time", sort_keys=False,
    )  # fmt: skip


def _add_request_id(_logger: Any, _method: str, line: Line) -> Line:
    if (request_id := request_ids.current()) is not None:
        line["request_id"] = request_id
    return line


def _ordered(_logger: Any, _method: str, line: Line) -> Line:
    return {**{name: line[name] for name in FIRST if name in line}, **line}


def _one_line(_logger: Any, _method: str, line: Line) -> Line:
    """Whoever has put a line break into a path must not be able to write lines of our log."""
    line["message"] = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line["message"])
    return line
