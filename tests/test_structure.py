"""The house rules of the package: imports point in one direction, names resolve, torch comes late."""

import ast
import subprocess
import sys
from pathlib import Path

import firstsight

SOURCE = Path(firstsight.__file__).parent

# Each part may import the parts named beside it, and itself. A new part needs a line here.
ALLOWED = {
    "errors": set(),
    "data": {"errors"},
    "progress": set(),
    "jobs": {"errors"},
    "features": {"errors", "data"},
    "devices": {"errors"},
    "images": {"errors"},
    "threads": set(),
    "backbones": {"errors", "devices", "images", "threads"},
    "files": {"errors"},
    "extraction": {"errors", "files", "images", "backbones", "threads"},
    "store": {"errors", "data", "files", "images", "threads"},
    "frozen": {"errors", "data", "files", "features", "backbones", "extraction", "datasets", "checkpoint", "store"},
    "drawings": {"errors", "files"},
    "board": {"errors", "backbones", "drawings"},
    "semantics": {"errors", "data", "devices", "backbones"},
    "checkpoint": {"errors", "files"},
    "probability": {"errors", "data"},
    "analysis": {"errors", "data", "probability"},
    "datasets": {"errors", "data", "images", "features", "files", "analysis", "threads"},
    "methods": {"errors", "data", "checkpoint", "devices", "images", "backbones", "features"},
    "evaluation": {"errors", "data", "methods", "probability"},
    "explanation": {"errors", "data", "methods"},
    "pictures": {"errors", "data", "images", "methods", "explanation"},
    "topk": {"errors", "data", "methods"},
    "sources": {"errors", "data", "images"},
    "recogniser": {
        *("errors", "data", "checkpoint", "probability", "methods", "evaluation", "explanation", "topk", "backbones"),
        "semantics",
    },
    "graph": {"errors", "files", "methods", "recogniser"},
    "statistics": {"errors"},
    "settings": {"errors", "files", "methods"},
    "tune": {"errors", "data", "methods", "evaluation"},
    "experiment": {
        *("errors", "data", "files", "methods", "evaluation", "analysis", "pictures", "progress", "settings", "jobs"),
        *("statistics", "store"),
    },
    "ablation": {"errors", "data", "files", "methods", "evaluation", "experiment"},
    "report": {"errors", "files", "analysis", "statistics"},
    "serve": {"errors", "data", "images"},
    "demo": {"errors", "data", "datasets", "methods", "experiment", "report", "progress"},
}
MAY_IMPORT_ALL = {"cli", "__init__", "__main__"}


def part_of(module: str) -> str | None:
    """`firstsight.methods.base` -> `methods`."""
    words = module.split(".")
    return words[1] if words[0] == "firstsight" and len(words) > 1 else None


def imports(file: Path) -> set[str]:
    """Parts of firstsight that a file imports, wherever in the file; those for the type checker count too."""
    package = ["firstsight", *file.relative_to(SOURCE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            modules = [f"{module}.{alias.name}" for alias in node.names] if module == "firstsight" else [module]
        else:
            continue
        found |= {part_of(module) for module in modules if module.split(".")[0] == "firstsight"}
    return found - {None, "__version__"}


def files():
    return [(file, file.relative_to(SOURCE).parts[0].removesuffix(".py")) for file in SOURCE.rglob("*.py")]


def test_imports_point_in_one_direction():
    wrong = {
        f"{file.relative_to(SOURCE)} imports {other}"
        for file, part in files()
        if part not in MAY_IMPORT_ALL
        for other in imports(file) - {part} - ALLOWED.get(part, set())
    }
    assert not wrong


def test_every_part_has_a_place():
    assert {part for _, part in files()} - MAY_IMPORT_ALL == set(ALLOWED)


def test_nothing_imports_the_command_line():
    assert not [file for file, part in files() if part != "cli" and part != "__main__" and "cli" in imports(file)]


def test_a_report_never_trains():
    for part in ("methods", "experiment", "evaluation", "features", "datasets"):
        assert not [file for file, own in files() if own == "report" and part in imports(file)]


def test_only_the_command_line_prints_exits_or_reads_arguments():
    for file, part in files():
        if part in MAY_IMPORT_ALL:
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


def test_no_drawers_for_everything():
    names = {path.stem for path in SOURCE.rglob("*")}
    assert not names & {"utils", "util", "common", "helpers", "helper", "misc", "trainer", "config"}


def test_no_pickle():
    for file, _ in files():
        text = file.read_text(encoding="utf-8")
        assert "pickle" not in text.replace("no pickle", ""), file
        assert "torch.load" not in text, file
        assert "torch.save" not in text, file


def test_public_names_resolve():
    for name in firstsight.__all__:
        assert getattr(firstsight, name) is not None
    assert firstsight.__version__


def test_unknown_names_are_unknown():
    assert not hasattr(firstsight, "nonsense")


def test_importing_firstsight_imports_no_torch():
    script = (
        "import sys, firstsight, firstsight.cli\n"
        "assert firstsight.InputError\n"
        "slow = {'torch', 'torchvision', 'sklearn', 'scipy', 'matplotlib', 'numpy', 'tyro'} & set(sys.modules)\n"
        "sys.exit(', '.join(slow) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
