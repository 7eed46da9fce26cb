"""How a command answers: text for people, one JSON value with `--json`; a refusal is a sentence and exit code 1."""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from authsvc.core.errors import AuthsvcError, InvalidFields
from authsvc.core.settings import Settings
from authsvc.core.times import rfc3339

if TYPE_CHECKING:
    from authsvc.domain.sessions import Ending
    from authsvc.services import Services


class Answer(NamedTuple):
    data: object
    text: str
    ok: bool = True


def answers(function: Callable[..., Answer | None]) -> Callable[..., None]:
    """Around a command: gives it `--json`, prints its answer, turns its errors into refusals."""

    @click.option("as_json", "--json", is_flag=True, help="Answer with JSON.")
    @functools.wraps(function)
    def command(*, as_json: bool, **given: Any) -> None:
        try:
            answer = function(**given)
        except AuthsvcError as error:
            _refuse(error, as_json=as_json)
        if answer:
            tell(answer)
            raise SystemExit(0 if answer.ok else 1)

    return command


def tell(answer: Answer) -> None:
    as_json = click.get_current_context().params["as_json"]
    click.echo(json.dumps(answer.data) if as_json else answer.text)


def _refuse(error: AuthsvcError, *, as_json: bool) -> NoReturn:
    fields = error.errors if isinstance(error, InvalidFields) else ()
    if as_json:
        data: dict[str, Any] = {"code": error.code, "detail": error.detail}
        click.echo(json.dumps(data | ({"errors": [field._asdict() for field in fields]} if fields else {})))
    else:
        click.echo(" ".join(field.message for field in fields) or error.detail, err=True)
    raise SystemExit(1)


@contextmanager
def opened(settings: Settings | None = None) -> Iterator["Services"]:
    """The parts, on the same storage that the running service uses. Raises Misconfigured."""
    from authsvc.installation import with_address  # noqa: PLC0415
    from authsvc.services import build  # noqa: PLC0415

    services = build(with_address(settings or Settings.read().for_storage()))
    try:
        yield services
    finally:
        services.close()


def ended(ending: "Ending") -> Answer:
    """What an end has done; also when Redis has not heard of it yet, for SQL has."""
    final_by = when(ending.final_by)
    text = f"Sessions ended: {ending.count}."
    if final_by:
        text += f" Redis could not be reached: they are ended everywhere by {final_by} at the latest."
    return Answer({"ended": ending.count, "final_by": final_by}, text)


def when(seconds: int | None) -> str | None:
    """RFC 3339."""
    return None if seconds is None else rfc3339(seconds)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)
