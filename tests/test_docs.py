"""README, CONTRIBUTING and docs name files, modules and pages that are there."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as they are made where the repository is shown."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@EACH
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if ":" not in target:
            path, _, anchor = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), target


@EACH
def test_files_are_there(page):
    for path in re.findall(r"\b((?:src/firstsight|tests|experiments|speed)/[\w/]+\.(?:py|toml))", TEXTS[page]):
        assert (ROOT / path).exists(), path


@EACH
def test_modules_and_names_are_there(page):
    for dotted in set(re.findall(r"\bfirstsight((?:\.[a-zA-Z_]+)+)", TEXTS[page])):
        found, place = importlib.import_module("firstsight"), "firstsight"
        for name in dotted.strip(".").split("."):
            place += f".{name}"
            if not hasattr(found, name):
                importlib.import_module(place)
            found = getattr(found, name)
