"""What is written about the code is what the code says."""

import re
import runpy
from contextlib import closing
from pathlib import Path

import pytest

from authsvc import migrations
from authsvc.core import metrics
from authsvc.db import Database
from authsvc.health import Storage
from authsvc.operations import State
from tests.conftest import make_settings

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["settings", "promises"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert (ROOT / "docs" / f"{page}.md").read_text() == generate[f"{page}_page"]()


def test_the_operations_page_names_every_figure_and_no_other(tmp_path: Path) -> None:
    settings = make_settings(instance=tmp_path, database_url=f"sqlite:///{tmp_path}/x.sqlite3")
    migrations.upgrade(Database(settings.sql_url))
    with closing(Storage(settings)) as storage:
        state = {metric.name for metric in State(storage).collect()}
    counted = {metric.name + ("_total" if metric.type == "counter" else "") for metric in metrics.REGISTRY.collect()}
    page = (ROOT / "docs" / "operations.md").read_text()
    assert set(re.findall(r"^\| `(authsvc_\w+)`", page, re.MULTILINE)) == state | counted | {"authsvc_workers"}


PAGES = [path.relative_to(ROOT) for path in ROOT.rglob("*.md")]


def is_ours(page: Path) -> bool:
    return not any(part.startswith(".") or part == "node_modules" for part in page.parts)


@pytest.mark.parametrize("page", sorted(str(page) for page in PAGES if is_ours(page)))
def test_links_of_our_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_room_says_what_lives_there_in_ten_lines() -> None:
    rooms = [folder for folder in (ROOT / "authsvc").iterdir() if (folder / "__init__.py").exists()]
    rooms = [folder for folder in rooms if folder.name not in ("migrations", "cli")] + [ROOT / "bridge"]
    for room in rooms:
        assert len((room / "README.md").read_text().splitlines()) <= 10, room
