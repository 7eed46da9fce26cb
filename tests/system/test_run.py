"""`authsvc run`: what it starts, how it stops, and what it survives."""

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from authsvc.core.settings import SECRET_FILE
from tests.servers import wait_for
from tests.system.browser import Browser, close_code, frame
from tests.system.stack import PARTS, Run, only, processes_of

# -- start ---------------------------------------------------------------------------------------------------------


def test_the_printed_command_makes_the_first_user_who_then_can_log_in(run: Run) -> None:
    printed = run.start().server.log.read_text()
    assert run.url in printed
    (command,) = re.findall(r"^  (AUTHSVC_INSTANCE=\S+) \S+ (user create .*)$", printed, re.MULTILINE)
    here = Path(sys.executable).parent / "authsvc"

    made = subprocess.run(
        f"{command[0]} {here} {command[1]} --password-stdin", shell=True, input="correct horse battery staple",
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert made.returncode == 0, made.stderr
    (user,) = run.told("user", "list")["users"]
    assert (user["id"], user["roles"]) == (made.stdout.strip(), ["admin"])
    run.server.stop()
    run.start()
    assert run.server.log.read_text().count("user create") == 1  # only while there is none


def test_what_it_keeps_is_for_its_owner_alone(run: Run) -> None:
    run.start()

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.instance.iterdir()}

    assert stat.S_IMODE(run.instance.stat().st_mode) == 0o700
    assert {SECRET_FILE, "authsvc.sqlite3", "valkey", "valkey.log", "valkey.sock", "lock"} <= modes.keys()
    assert {name: mode for name, mode in modes.items() if mode & 0o077} == {}


def test_the_embedded_valkey_listens_on_no_port_and_writes_what_it_holds(run: Run) -> None:
    run.start()

    with run.redis() as client:
        assert client.config_get("port")["port"] == "0"
        assert client.config_get("append*")["appendonly"] == "yes"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"


def test_the_doctor_finds_a_running_service_well(run: Run) -> None:
    run.start()

    assert {part["part"]: part["ok"] for part in run.told("doctor")["parts"]} == dict.fromkeys(
        ("settings", "instance", "database", "clock", "redis", "broker", "worker", "address"), True
    )


def test_json_tells_programs_what_was_started(run: Run) -> None:
    run.launch("--json")
    run.wait_until_ready()

    started = json.loads(run.server.log.read_text().splitlines()[0])

    assert (started["url"], started["pid"]) == (run.url, run.server.process.pid)
    assert (started["worker"], started["valkey"]) == (only(PARTS[1], run.instance), only(PARTS[2], run.instance))
    assert started["first_user"].endswith(" user create you@example.org --role admin")


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_second_copy_is_refused_with_the_process_of_the_first(run: Run) -> None:
    run.start()

    words = run.refused()

    assert re.fullmatch(rf"authsvc runs already in \S+, as process {run.server.process.pid}\. .*\.\n", words)
    assert run.ready()


def test_a_taken_port_is_refused_before_anything_starts(run: Run) -> None:
    with socket.create_server(("127.0.0.1", run.port)):
        words = run.refused()

    assert re.fullmatch(rf"Cannot listen on 127\.0\.0\.1, port {run.port}: Address already in use\. .*\.\n", words)


def test_an_instance_that_cannot_be_a_folder_is_refused(run: Run) -> None:
    run.instance.write_text("a file")

    words = run.refused()

    assert re.fullmatch(rf"Cannot use the folder {run.instance}: .*AUTHSVC_INSTANCE.*\.\n", words)


def test_a_read_only_instance_is_refused(run: Run) -> None:
    run.instance.mkdir(mode=0o500)

    assert re.fullmatch(rf"Cannot use the folder {run.instance}: .*AUTHSVC_INSTANCE.*\.\n", run.refused())


def test_a_folder_too_deep_for_a_socket_is_refused(run: Run) -> None:
    run.instance = run.folder / ("deep" * 25) / ("deeper" * 10)
    run.env["AUTHSVC_INSTANCE"] = str(run.instance)

    words = run.refused()

    assert re.fullmatch(r"The path of the socket \S+ has \d+ bytes; 107 is the most\. .*AUTHSVC_INSTANCE.*\.\n", words)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SECRET_KEYS", "change-me"), ("PORT", "http"), ("PUBLIC_URL", "http://login.example.org/path")],
)
def test_a_wrong_setting_is_refused_by_its_name(variable: str, value: str, run: Run) -> None:
    run.env[f"AUTHSVC_{variable}"] = value

    assert re.match(f"AUTHSVC_{variable}: .*\\.\n", run.refused())


# -- stop ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything_whatever_is_open(number: int, run: Run) -> None:
    """Ctrl-C goes to the whole process group, as a terminal sends it."""
    email = run.start().new_user()
    async with Browser(run) as browser:
        await browser.log_in(email)
        _, half = await asyncio.open_connection("127.0.0.1", run.port)
        half.write(
            b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        await half.drain()
        async with browser.socket() as socket_, browser.events():
            await frame(socket_, "hello")

            os.killpg(run.server.process.pid, number)

            assert await close_code(socket_) in (1001, 1012)
            assert await asyncio.to_thread(run.server.wait) == 0
            assert processes_of(run.instance) == {}
        half.close()


def test_a_signal_while_it_starts_stops_everything(run: Run) -> None:
    run.start()
    run.server.stop()

    for moment in ("", "valkey-server", "authsvc.cli worker"):
        starting = run.launch()
        wait_for(lambda moment=moment: any(moment in command for command in processes_of(run.instance).values()))
        starting.signal(signal.SIGTERM)
        assert starting.wait() in (0, -signal.SIGTERM)
        assert processes_of(run.instance) == {}
