"""Writes the pages that say what the code says: `python docs/generate.py`. A test fails when one is out of date."""

from pathlib import Path

from authsvc.core.settings import Settings

SETTINGS_PAGE = Path(__file__).parent / "settings.md"

HEAD = """# Settings

Read once from the environment and checked at start; durations are in seconds, lists are separated by commas.
Made from `authsvc/core/settings.py` by `python docs/generate.py`.

| variable | default | meaning |
|---|---|---|
"""


def settings_page() -> str:
    rows = [
        f"| `AUTHSVC_{name.upper()}` | `{_shown(field.default)}` | {' '.join((field.description or '').split())} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    return {"()": "", "True": "true", "False": "false"}.get(str(default), str(default)) or " "


if __name__ == "__main__":
    SETTINGS_PAGE.write_text(settings_page())
