"""What is written about the code is what the code says."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_settings_page_is_up_to_date() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert (ROOT / "docs" / "settings.md").read_text() == generate["settings_page"]()


PAGES = [path.relative_to(ROOT) for path in ROOT.rglob("*.md")]


@pytest.mark.parametrize("page", sorted(str(page) for page in PAGES if not page.parts[0].startswith(".")))
def test_links_of_our_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_room_says_what_lives_there_in_ten_lines() -> None:
    rooms = [folder for folder in (ROOT / "authsvc").iterdir() if (folder / "__init__.py").exists()]
    rooms = [folder for folder in rooms if folder.name not in ("migrations", "cli")] + [ROOT / "bridge"]
    for room in rooms:
        assert len((room / "README.md").read_text().splitlines()) <= 10, room
