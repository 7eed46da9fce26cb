"""`authsvc run | web | bridge | worker | migrate | doctor`: the service and its parts."""
# ruff: noqa: PLC0415 - each part imports what it needs and nothing of the others

import os
import signal
import threading
from typing import TYPE_CHECKING

import click

from authsvc.cli.answer import Answer, answers, tell
from authsvc.core.settings import Settings

if TYPE_CHECKING:
    from authsvc.runner import Started


@click.command()
@answers
def run() -> None:
    """Run the whole service on one port: web, bridge, worker and an embedded Valkey.

    It keeps its database, secrets and Valkey in instance/, unless AUTHSVC_* variables name others.
    """
    from authsvc import runner

    runner.run(lambda started: tell(_started(started)))


@click.command()
@answers
def web() -> None:
    """Serve pages and JSON (granian, WSGI)."""
    from authsvc import ops_port, serve

    settings = _settings()
    ops_port.listen(settings.host, settings.port, "AUTHSVC_PORT").close()  # granian shares a port with whoever has it
    with ops_port.served(settings):
        tell(_listening("web", settings))
        serve.run_wsgi(settings)


@click.command()
@answers
def bridge() -> None:
    """Serve sockets and event streams (uvicorn)."""
    from authsvc import ops_port, runner, serve

    settings = _settings()
    listener = ops_port.listen(settings.host, settings.port, "AUTHSVC_PORT")
    with listener, ops_port.served(settings), runner.stopped_by_signals():
        tell(_listening("bridge", settings))
        serve.run_asgi(serve.bridge_app(settings), settings, listener)


@click.command()
@click.option("--with-parent", is_flag=True, help="End when stdin does: with the process that holds its other end.")
@answers
def worker(with_parent: bool) -> None:
    """Do the jobs: send mails, clean up, and carry to Redis what others could not deliver."""
    from authsvc import ops_port, runner

    settings = _settings()
    if with_parent:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    with ops_port.served(settings), runner.stopped_by_signals():
        from authsvc.jobs.worker import work

        work(settings)


@click.command()
@answers
def migrate() -> Answer:
    """Bring the database to the newest schema. Safe while the version before runs."""
    from authsvc import migrations
    from authsvc.db import Database

    db = Database(Settings.read().sql_url)
    migrations.upgrade(db)
    db.close()
    return Answer({"schema": "current"}, "The database has the newest schema.")


@click.command()
@answers
def doctor() -> Answer:
    """Check every part, and say what is wrong and how to mend it."""
    from authsvc import doctor

    findings = doctor.examine()
    width = max(len(finding.part) for finding in findings)
    lines = [f"{'ok   ' if each.ok else 'WRONG'}  {each.part:<{width}}  {each.detail}" for each in findings]
    ok = all(finding.ok for finding in findings)
    return Answer({"ok": ok, "parts": [finding._asdict() for finding in findings]}, "\n".join(lines), ok)


def _settings() -> Settings:
    """Those of a part of the service, which logs from here on."""
    from authsvc.core import logs

    settings = Settings.read().for_service()
    logs.configure(settings)
    return settings


def _started(started: "Started") -> Answer:
    lines = [
        f"authsvc is at {started.url} (Ctrl-C stops it)",
        f"  web and bridge  process {os.getpid()}",
        f"  worker          process {started.worker}",
    ]
    if started.valkey:
        lines.append(f"  Valkey          process {started.valkey}")
    if started.operations:
        lines.append(f"Mails, metrics and readiness are at {started.operations}")
    if started.first_user:
        lines.append(f"Nobody can log in yet. Make the first account, in another terminal:\n  {started.first_user}")
    return Answer({"pid": os.getpid(), **started._asdict()}, "\n".join(lines))


def _listening(part: str, settings: Settings) -> Answer:
    where = f"{settings.host}, port {settings.port}"
    data = {"pid": os.getpid(), "host": settings.host, "port": settings.port}
    return Answer(data, f"authsvc {part} listens on {where}, for {settings.public_url}")


def _end_with_stdin() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would still be held while the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
