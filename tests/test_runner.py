"""Children are kept alive and stopped for certain; an installation's folder and secret are made once."""

import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from authsvc import installation, runner
from authsvc.core.errors import Misconfigured
from authsvc.core.settings import SECRET_FILE, Settings
from authsvc.ops_port import listen
from authsvc.runner import Child
from tests.conftest import ORIGIN, make_settings
from tests.servers import Valkey, free_port, wait_for

Keep = Callable[..., Child]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AUTHSVC_"):
            monkeypatch.delenv(name)


class Program:
    """Python that a child runs, and every process that was made of it."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.made: list[subprocess.Popen[bytes]] = []

    def __call__(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.code]
        self.made.append(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True))
        return self.made[-1]


SLEEPS = "import time; time.sleep(60)"
IGNORES_SIGTERM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pid = os.fork()
if pid:
    print(pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def keep() -> Iterator[Keep]:
    children: list[tuple[Child, Program]] = []

    def make(program: Program, mend: Callable[[], None] | None = None, **options: float) -> Child:
        children.append((Child("child", program, mend, **options), program))
        return children[-1][0]

    yield make
    for child, program in children:
        child.stop()
        for process in program.made:
            assert process.poll() is not None
            assert process.stdout
            process.stdout.close()


# -- children ------------------------------------------------------------------------------------------------------


def test_a_child_that_is_killed_is_started_again(keep: Keep) -> None:
    program = Program(SLEEPS)
    pid = keep(program).start()

    os.kill(pid, signal.SIGKILL)

    wait_for(lambda: len(program.made) == 2)
    assert program.made[1].poll() is None


def test_the_pause_before_a_start_grows_with_every_early_death(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SHORTEST_PAUSE", 0.001)
    pauses: list[float] = []
    child = keep(Program("raise SystemExit(3)"))
    wait = child._stopping.wait
    monkeypatch.setattr(child._stopping, "wait", lambda pause: bool(pauses.append(pause)) or wait(0))

    child.start()

    wait_for(lambda: len(pauses) >= 4)
    assert pauses[:4] == [0.002, 0.004, 0.008, 0.016]


def test_a_child_that_gives_up_at_once_is_mended_first(keep: Keep) -> None:
    program, mended = Program("raise SystemExit(1)"), threading.Event()

    def mend() -> None:
        program.code = SLEEPS
        mended.set()

    keep(program, mend).start()

    wait_for(lambda: len(program.made) == 2)
    assert mended.is_set()
    assert program.made[1].poll() is None


def test_a_stopped_child_stays_down(keep: Keep) -> None:
    program = Program(SLEEPS)
    child = keep(program)
    child.start()

    child.stop()

    assert [process.poll() for process in program.made] == [-signal.SIGTERM]


def test_a_child_that_ignores_the_request_is_killed_with_its_own_children(keep: Keep) -> None:
    program = Program(IGNORES_SIGTERM)
    child = keep(program, patience=0.1)
    child.start()
    assert program.made[0].stdout
    grandchild = int(program.made[0].stdout.readline())

    child.stop()

    assert program.made[0].poll() == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{grandchild}").exists())


def test_a_child_that_cannot_be_started_says_why(keep: Keep) -> None:
    def start() -> subprocess.Popen[bytes]:
        raise Misconfigured("This is why.")

    child = Child("child", start)

    with pytest.raises(Misconfigured, match="This is why"):
        child.start()
    child.stop()


# -- what an earlier run has left ----------------------------------------------------------------------------------


def test_an_orphaned_valkey_is_shut_down(valkey: Valkey) -> None:
    runner.shut_down_orphan(valkey.socket)

    assert valkey._process
    assert valkey._process.wait(timeout=5) == 0


def test_where_nobody_listens_there_is_nothing_to_shut_down(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    runner.shut_down_orphan(path)
    runner.shut_down_orphan(tmp_path / "none.sock")


def test_a_port_that_is_taken_or_an_address_that_is_not_ours_is_named() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Misconfigured, match=f"port {port}: Address already"):
        listen("127.0.0.1", port, "AUTHSVC_PORT")
    with pytest.raises(Misconfigured, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", port, "AUTHSVC_PORT")


# -- signals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_a_terminal() -> Iterator[None]:
    """SIGHUP as it is there; whoever runs the tests may ignore it (nohup does)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize("number", runner.STOP_SIGNALS)
def test_the_first_signal_ends_the_block_and_no_other_disturbs_its_end(number: int) -> None:
    before, ended = [signal.getsignal(each) for each in runner.STOP_SIGNALS], []

    with runner.stopped_by_signals():
        try:
            signal.raise_signal(number)
            pytest.fail("it went on")
        finally:
            for each in runner.STOP_SIGNALS:
                signal.raise_signal(each)
            ended.append(number)

    assert ended == [number]
    assert [signal.getsignal(each) for each in runner.STOP_SIGNALS] == before


# -- settings of `authsvc run` -------------------------------------------------------------------------------------


def test_run_serves_plain_http_on_loopback_unless_told_otherwise() -> None:
    assert runner.only_in_run(Settings.read(port=8123)) == {
        "public_url": "http://127.0.0.1:8123",
        "ops_port": 9000,
        "cookie_secure": False,
    }
    assert runner.only_in_run(Settings.read(public_url="https://login.test", ops_port=0)) == {
        "public_url": "https://login.test"
    }
    assert "cookie_secure" not in runner.only_in_run(Settings.read(cookie_secure=True))


# -- the folder ----------------------------------------------------------------------------------------------------


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_fresh_folder_is_closed_to_others_and_one_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    checkout, home = tmp_path / "checkout", tmp_path / "home"
    for folder, file in ((checkout, "README.md"), (home, "letter.txt")):
        folder.mkdir(mode=0o755)
        (folder / file).touch()
        installation.prepare(Settings.read(instance=folder))

    assert (_mode(checkout), _mode(home)) == (0o700, 0o755)
    assert _mode(home / SECRET_FILE) == 0o600


def test_processes_that_make_the_secret_at_once_share_one(tmp_path: Path) -> None:
    together, seen = threading.Barrier(8), []

    def prepare() -> None:
        settings = Settings.read(instance=tmp_path)
        together.wait()
        installation.prepare(settings)
        seen.append(Settings.read(instance=tmp_path).keys)

    threads = [threading.Thread(target=prepare) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == together.parties
    assert len(set(seen)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


def test_a_secret_that_is_set_is_not_written_down(tmp_path: Path) -> None:
    installation.prepare(Settings.read(instance=tmp_path, secret_keys=secrets.token_urlsafe(32)))

    assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            installation.only_copy(tmp_path),
            pytest.raises(Misconfigured, match=f"process {os.getpid()}"),
            installation.only_copy(tmp_path),
        ):
            pytest.fail("two copies")


def test_commands_know_the_address_of_run_unless_they_are_told_another(tmp_path: Path) -> None:
    settings = make_settings(instance=tmp_path, public_url="http://127.0.0.1:8123")
    untold = settings.model_copy(update={"public_url": ""})

    assert installation.with_address(untold).public_url == ""
    installation.keep_address(settings)

    assert installation.with_address(untold).public_url == "http://127.0.0.1:8123"
    assert installation.with_address(make_settings(instance=tmp_path)).public_url == ORIGIN
