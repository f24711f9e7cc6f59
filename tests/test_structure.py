"""The house rules of the package: imports point in one direction, names resolve, torch comes late."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import firstsight
from tests import structure
from tests.structure import DOORS, GROUND, ROOMS, SOURCE


def files():
    return [(SOURCE / file, structure.top_of(file)) for file in structure.trees()]


def imports(file):
    return structure.imported_rooms(file.relative_to(SOURCE))


def test_imports_point_in_one_direction():
    assert not structure.upward()


def test_nothing_is_in_a_circle():
    assert not structure.circles(structure.arrows())
    assert not structure.circles(structure.file_arrows())


def test_every_room_has_a_place():
    assert {room for _, room in files()} - DOORS == set(ROOMS)
    assert len(GROUND) <= 8


def test_nothing_imports_the_command_line():
    assert not [file for file, room in files() if room not in ("cli", "__main__") and "cli" in imports(file)]


def test_a_report_never_trains():
    for part in ("methods", "tuning", "evaluation", "features", "datasets", "bench", "analysis"):
        assert not [file for file, own in files() if own in ("report", "results") and part in imports(file)]


def test_only_the_command_line_prints_exits_or_reads_arguments():
    for file, room in files():
        if room in DOORS:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not names & {"print", "exit", "input", "quit"}, file
        attributes = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        assert not attributes & {"sys.exit", "sys.argv", "os._exit"}, file


def test_docstrings_of_functions_start_with_a_verb():
    assert not structure.without_verb()


def test_private_names_stay_in_their_room():
    torchs_own = "_cdist_forward"  # the only name under which an ONNX graph can replace torch.cdist
    assert [place for place in structure.private_across_rooms() if not place.endswith(torchs_own)] == []


def test_files_people_give_are_read_in_one_place_each():
    """Folders of pictures, tables of classes, files of features."""
    assert structure.calling("os.walk", "os.scandir") == [Path("pictures/find.py")]
    assert structure.calling("csv.reader", "csv.DictReader") == [Path("semantics/class_table.py")]
    assert structure.calling("np.load", "numpy.load") == [Path("features/feature_file.py")]


def test_long_files_say_why():
    for file, length in structure.lengths().items():
        text = (SOURCE / file).read_text(encoding="utf-8")
        assert length <= 400 or "Longer than 400 lines because" in text, file


def test_no_drawers_for_everything():
    names = {path.stem for path in SOURCE.rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc", "trainer", "config"}


def test_no_pickle():
    for file, _ in files():
        text = file.read_text(encoding="utf-8")
        assert "pickle" not in text.replace("no pickle", ""), file
        assert "torch.load" not in text, file
        assert "torch.save" not in text, file


def test_public_names_are_listed_sorted_and_there():
    names = (
        *("ClassEmbeddings", "Dataset", "InputError", "Recogniser", "Result", "TrainingSet"),
        *("evaluate", "load", "load_method", "methods"),
    )
    assert firstsight.__all__ == sorted(names)
    for name in firstsight.__all__:
        assert getattr(firstsight, name) is not None
    assert firstsight.__version__


@pytest.mark.parametrize(
    ("before", "now", "names"),
    [
        ("backbones", "features.load", ("load_backbone",)),
        ("semantics", "semantics.text", ("ClassText", "join", "prompt_embeddings", "text_embeddings")),
        ("topk", "recogniser.topk", ("ClassIndex",)),
        (
            "methods.spaen_pictures.weights",
            "methods.spaen_pictures.pretrained",
            ("SHAPES", "alexnet_weights", "published_generator"),
        ),
    ],
)
def test_names_that_the_documentation_showed_are_still_there(before, now, names):
    old, new = (importlib.import_module(f"firstsight.{place}") for place in (before, now))
    for name in names:
        assert getattr(old, name) is getattr(new, name)


def test_unknown_names_are_unknown():
    assert not hasattr(firstsight, "nonsense")


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("firstsight, firstsight.cli", "torch torchvision sklearn scipy matplotlib numpy tyro"),
        ("firstsight.report", "torch torchvision sklearn scipy matplotlib tyro"),
    ],
)
def test_what_is_slow_to_import_comes_late(modules, slow):
    script = f"import sys, {modules}\nsys.exit(', '.join(set({slow.split()}) & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
