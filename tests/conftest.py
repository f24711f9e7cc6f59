"""What several test files share: running commands, small data sets in the GBU layout, the way to the real ones."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.browsing import open_page, served  # noqa: F401 - fixtures
from tests.support.matlab import toy_variables, write_mat5

BROWSER = "no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update disable-sync"
ROOT = Path(__file__).resolve().parents[1]

os.environ["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT, *sys.path]))  # subprocesses import what the tests import

settings.register_profile("no deadline", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets; tests that ask for it are skipped where it is absent."""
    root = Path(os.environ.get("FIRSTSIGHT_DATA") or ROOT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set FIRSTSIGHT_DATA to the folder that holds gbu/")
    return root


@pytest.fixture(scope="session")
def gbu_root(data_root) -> Path:
    """Folder that holds CUB, SUN, AWA2 and APY."""
    if not (data_root / "gbu").is_dir():
        pytest.skip(f"no gbu folder in {data_root}")
    return data_root / "gbu"


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright."""
    from firstsight.report.export import BROWSERS

    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[f"--{flag}" for flag in BROWSER.split()])
        yield browser
        browser.close()


@pytest.fixture
def run(capfd):
    """Runs a command and returns (exit code, stdout, stderr), also of what writes past Python."""

    from firstsight.cli import main

    def run(*words):
        capfd.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def make_gbu(tmp_path):
    """A function that writes a small GBU folder and returns it.

    Its arguments change variables of the two files (None leaves one out); `files` adds more MATLAB files.
    """

    def make(name="TOY", write=write_mat5, files=None, **changes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        features, splits = toy_variables()
        features |= {key: value for key, value in changes.items() if key in features}
        splits |= {key: value for key, value in changes.items() if key not in features}
        for file, variables in {"res101.mat": features, "att_splits.mat": splits, **(files or {})}.items():
            if variables is not None:
                write(folder / file, {key: value for key, value in variables.items() if value is not None})
        return folder

    return make
