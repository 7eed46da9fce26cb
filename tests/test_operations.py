"""The operations port: what it tells, and to whom."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from authsvc import mailbox, ops_port
from authsvc.core.errors import Misconfigured
from authsvc.core.settings import Settings
from authsvc.domain import jobs
from authsvc.domain.accounts import Account
from authsvc.domain.sessions import Origin
from authsvc.operations import create_app
from authsvc.services import Services
from tests.conftest import make_settings
from tests.servers import Valkey, free_port

HERE = "http://127.0.0.1:9000"
MAIL = b"""To: Anna <anna@example.org>\r\nSubject: <b>Bold</b>\r\nMIME-Version: 1.0\r
Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r
Open https://login.test/verify-email?token=abc now <script>alert(1)</script>\r
--x\r\nContent-Type: text/html\r\n\r\n<p>Open "it"</p>\r\n--x--\r\n"""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class FromHere(FlaskClient):
    def open(self, *args: Any, **given: Any) -> Any:
        return super().open(*args, **{"base_url": HERE, **given})


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    folder = tmp_path / "figures"
    folder.mkdir()
    return folder


@pytest.fixture
def client(settings: Settings, figures: Path, tmp_path: Path) -> FlaskClient:
    app = create_app(settings.model_copy(update={"ops_port": 9000}), figures, tmp_path / "mails")
    app.test_client_class = FromHere
    return app.test_client()


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", "$argon2id$nothing")


def sample(client: FlaskClient, name: str) -> float | None:
    """The value of a line of `/metrics`, by its name with labels."""
    lines = client.get("/metrics").get_data(as_text=True).splitlines()
    values = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == name]
    return float(values[0]) if values else None


# -- readiness -----------------------------------------------------------------------------------------------------


def test_each_part_is_named_and_all_must_be_well(client: FlaskClient, services: Services, valkey: Valkey) -> None:
    services.jobs.alive("one")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["ready"]) == (200, True)
    assert [part["part"] for part in answer.get_json()["parts"]] == ["database", "clock", "redis", "broker", "worker"]

    valkey.kill()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["ready"]) == (503, False)
    assert [part["part"] for part in answer.get_json()["parts"] if not part["ok"]] == ["redis", "worker"]


# -- figures -------------------------------------------------------------------------------------------------------


def test_what_the_storage_knows_is_asked_when_somebody_looks(
    client: FlaskClient, services: Services, anna: Account
) -> None:
    services.sessions.create(anna.id, 0, amr=("pwd",), remember=False, origin=Origin("192.0.2.1", ""))
    with services.db.transaction() as sql:
        jobs.add(sql, jobs.EXPORT, services.store.clock() - 7)
        dead = jobs.add(sql, jobs.EXPORT, services.store.clock())
    services.jobs.bury(dead, "because")
    services.jobs.alive("one")

    assert sample(client, "authsvc_sessions") == 1
    assert sample(client, 'authsvc_jobs{kind="account.export",state="open"}') == 1
    assert sample(client, 'authsvc_jobs{kind="account.export",state="dead"}') == 1
    assert (sample(client, 'authsvc_queue_wait_seconds{queue="default"}') or 0) >= 7
    assert sample(client, "authsvc_workers") == 1
    assert sample(client, 'authsvc_part_ok{part="worker"}') == 1


def test_what_nobody_can_tell_is_left_out(client: FlaskClient, settings: Settings, valkey: Valkey) -> None:
    valkey.kill()
    assert sample(client, "authsvc_workers") is None
    assert sample(client, "authsvc_sessions") == 0
    assert sample(client, 'authsvc_part_ok{part="redis"}') == 0


COUNTS = """
import sys
from authsvc.core import metrics
metrics.LOGINS.labels("ok").inc()
metrics.HASHES_PENDING.inc()
print("counted", flush=True)
sys.stdin.read()
"""


def counting(figures: Path) -> "subprocess.Popen[str]":
    """Another process of the service, which has counted a login and hashes a password until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTS], env={**os.environ, ops_port.FOLDER: str(figures)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "counted\n"
    return process


def test_the_figures_of_all_processes_are_one_sum_and_outlive_them(client: FlaskClient, figures: Path) -> None:
    both = [counting(figures), counting(figures)]
    assert sample(client, 'authsvc_logins_total{outcome="ok"}') == 2
    assert sample(client, "authsvc_hashes_pending") == 2
    both[0].kill()
    both[0].communicate()
    assert sample(client, 'authsvc_logins_total{outcome="ok"}') == 2
    assert sample(client, "authsvc_hashes_pending") == 1  # what it had in hand is gone with it
    both[1].communicate()


POOL = """
import os
from authsvc.core import metrics
for _ in range(3):
    if not os.fork():
        metrics.take_place("worker-0")
        metrics.LOGINS.labels("ok").inc()
        os._exit(0)
    os.wait()
"""


def test_who_takes_the_place_of_another_counts_on_in_its_files(client: FlaskClient, figures: Path) -> None:
    subprocess.run([sys.executable, "-c", POOL], env={**os.environ, ops_port.FOLDER: str(figures)}, check=True)
    assert sample(client, 'authsvc_logins_total{outcome="ok"}') == 3
    assert len(list(figures.glob("counter_*.db"))) == 2  # of the pool, and of the place in it


# -- mailbox -------------------------------------------------------------------------------------------------------


def test_programs_read_the_mails_newest_first(client: FlaskClient, tmp_path: Path) -> None:
    assert client.get("/dev/mailbox.json").get_json() == []
    mailbox.keep(tmp_path / "mails", MAIL.replace(b"Bold", b"Older"))
    mailbox.keep(tmp_path / "mails", MAIL)
    newest, older = client.get("/dev/mailbox.json").get_json()
    assert newest.keys() == {"id", "to", "subject", "text", "html", "received"}
    assert (newest["to"], newest["subject"]) == ("Anna <anna@example.org>", "<b>Bold</b>")
    assert "token=abc" in newest["text"]
    assert newest["html"].strip() == '<p>Open "it"</p>'
    assert newest["received"].endswith("Z")
    assert older["subject"] == "<b>Older</b>"


def test_people_read_them_and_no_mail_runs_anything(client: FlaskClient, tmp_path: Path) -> None:
    assert "There is no mail yet" in client.get("/dev/mailbox").get_data(as_text=True)
    mailbox.keep(tmp_path / "mails", MAIL)
    answer = client.get("/dev/mailbox")
    page = answer.get_data(as_text=True)
    assert '<a href="https://login.test/verify-email?token=abc"' in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert "script" not in answer.headers["Content-Security-Policy"]


def test_where_mails_are_sent_there_is_no_mailbox(settings: Settings, figures: Path) -> None:
    client = create_app(settings.model_copy(update={"ops_port": 9000}), figures, None).test_client()
    answers = [client.get(path, base_url=HERE).status_code for path in ("/", "/dev/mailbox", "/dev/mailbox.json")]
    assert answers == [200, 404, 404]


# -- to whom -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/readyz", "/metrics", "/dev/mailbox", "/dev/mailbox.json", "/none"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9000", "127.0.0.1", "127.0.0.1:8000", "localhost:9000.evil.example", "", "::1"],
)
def test_only_who_asks_this_machine_by_its_name_is_answered(client: FlaskClient, path: str, host: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "authsvc_" not in answer.get_data(as_text=True)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_it_is_known_by_both_names(client: FlaskClient) -> None:
    assert client.get("/readyz", headers={"Host": "localhost:9000"}).status_code in (200, 503)


# -- the port ------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_its_setting() -> None:
    port = free_port()
    settings = make_settings(ops_port=port)
    taken = ops_port.listen("127.0.0.1", port, "")
    with (
        taken,
        pytest.raises(Misconfigured, match=f"port {port}: Address.*AUTHSVC_OPS_PORT"),
        ops_port.served(settings),
    ):
        pytest.fail("it was served")


def test_without_a_port_nothing_is_served_or_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ops_port.FOLDER, raising=False)
    with ops_port.served(make_settings(), tmp_path / "figures"):
        assert ops_port.FOLDER not in os.environ
    assert not (tmp_path / "figures").exists()
