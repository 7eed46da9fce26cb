"""A short nemesis run (the long one is `make nemesis`), and the same against stock Flask-Session, which is caught."""

from pathlib import Path

import pytest

from tests.faults.nemesis import run


@pytest.mark.promise("R1")
@pytest.mark.promise("R2")
@pytest.mark.promise("R3")
@pytest.mark.promise("R6")
@pytest.mark.promise("L1")
@pytest.mark.promise("L2")
@pytest.mark.promise("L3")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [20261123])
def test_among_faults_no_promise_is_broken(tmp_path: Path, seed: int) -> None:
    result = run(12, seed, tmp_path)

    assert result.broken == [], f"the history is in {result.history}"
    assert sum(result.faults.values()) > 5
    for op in ("login", "check", "read", "save", "logout", "end_all", "spend", "socket", "stream"):
        assert result.operations[f"{op} ok"], f"nobody did it: {op}"
    assert result.operations["connection ended"]


@pytest.mark.timeout(180)
def test_stock_flask_session_is_caught(tmp_path: Path) -> None:
    """The negative control: what the checker lets pass, it lets pass for a reason."""
    result = run(6, 1, tmp_path, stock=True)

    caught = {words.partition(":")[0] for words in result.broken}
    assert "ended_is_final" in caught
    assert caught & {"written_is_kept", "nobody_is_logged_out"}
