"""Every command of docs/tutorial.md, run in its order on pictures drawn here."""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from firstsight.semantics import text as semantics

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
STAND_INS = {  # weights that nobody has to download, and a port that is free
    "--backbone resnet50": "--backbone random:timm:test_vit --device cpu",
    "--port 8000": "--port 0",
}
COLOURS = {"blue": (40, 60, 220), "red": (220, 30, 30), "yellow": (240, 220, 40), "brown": (120, 80, 40)}


def commands(block):
    """Its lines as words for `firstsight`, and what lies between them as text for the shell."""
    found, waiting = [], ""
    for line in block.replace("\\\n", " ").splitlines(keepends=True):
        if line.startswith("firstsight "):
            found += [waiting] if waiting else []
            found.append(shlex.split(line)[1:])
            waiting = ""
        else:
            waiting += line
    return [*found, waiting] if waiting else found


def shell(text):
    done = subprocess.run(["sh", "-ec", text], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


def draw_pictures():
    """Ten blots in the colours of each class that has pictures, and two that nobody has labelled."""
    rng = np.random.default_rng(0)
    with open("birds/classes.csv", encoding="utf-8") as file:
        classes = [row for row in csv.DictReader(file) if row["split"]]
    for row in classes:
        weights = np.array([float(row[name]) for name in (*COLOURS, "black", "white")])
        colour = weights @ np.array([*COLOURS.values(), (0, 0, 0), (255, 255, 255)]) / weights.sum()
        os.makedirs(f"birds/images/{row['class']}")
        for number in range(10):
            blot = np.clip(colour + rng.normal(scale=20, size=(48, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(blot).save(f"birds/images/{row['class']}/{number:04}.jpg")
    os.makedirs("photos")
    for name, row in (("garden", classes[0]), ("shore", classes[4])):
        shutil.copy(f"birds/images/{row['class']}/0003.jpg", f"photos/{name}.jpg")


def letters(name, device="auto"):
    """A text model that counts letters, in the place of one that has to be downloaded."""
    return lambda texts: np.array([[text.count(letter) + 0.1 for letter in "abcdefghijklmnopqrst"] for text in texts])


def serving(words):
    """A server in a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from firstsight.cli import main; main()", *words], stdout=subprocess.PIPE, text=True
    )
    said = process.stdout.readline()
    return process, re.search(r"http://127\.0\.0\.1:\d+", said)[0]


def test_the_tutorial(run, tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "fastapi", "timm"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(semantics, "load_text_model", letters)
    said, server, address = {}, None, ""
    try:
        for number, block in enumerate(BLOCKS):
            for old, new in STAND_INS.items():
                block = block.replace(old, new)
            for command in commands(block):
                if isinstance(command, str):
                    said[command] = shell(command.replace("http://127.0.0.1:8000", address))
                elif command[0] == "serve":
                    server, address = serving(command)
                else:
                    code, said[" ".join(command)], err = run(*command)
                    assert code == 0, f"firstsight {' '.join(command)}\n{err}"
            if number == 0:
                draw_pictures()
    finally:
        if server:
            server.terminate()
            server.wait(30)
            server.stdout.close()
    assert server, "the tutorial serves"
    check_answers(said)


def check_answers(said):
    """What was printed is about what the tutorial says it is."""
    assert "6 seen + 3 unseen" in said["data check birds"]
    of = {command.removeprefix("predict birds.safetensors "): out for command, out in said.items()}
    assert of["photos --top 3"].startswith("photos/garden.jpg\n")
    assert of["photos --top 3"].count(" %  ") == 6
    assert not re.search(r"\bseen", of["photos --only unseen"])
    assert "    for: " in of["photos/garden.jpg --explain"]
    assert len(of["photos --json"].splitlines()) == 2
    (asked,) = [out for command, out in said.items() if "/v1/predict" in command]
    assert '"explanation":{"class":' in asked
    assert '"name":"Hooded_Oriole"' in asked


def test_every_command_is_in_a_block_that_is_run():
    outside = re.sub(r"^```sh\n.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert "```sh" not in outside
    assert not re.search(r"^ *(\$ )?(firstsight|curl) [^\n]*--", outside, re.MULTILINE)
    for old in STAND_INS:
        assert TEXT.count(old) >= 1, f"nothing to stand in for: {old}"
