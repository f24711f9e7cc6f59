"""Measure the structure of the package and print it as a table.

    python -m tests.structure            # loose modules, rooms, arrows, circles, one training step, one served answer
    python -m tests.structure verbs      # functions whose docstring does not start with a verb
    python -m tests.structure private    # private names used across rooms
    python -m tests.structure arrows     # which room imports which

A room is a folder of code, or a loose module at the top of the package. An arrow is one room that imports another,
wherever in the file. `tests/test_structure.py` holds the package to these measures.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType

import firstsight

SOURCE = Path(firstsight.__file__).parent
# The house from the ground up: a room imports the rooms before it, and itself. A new room needs a line here.
GROUND = ("errors", "progress", "devices", "files", "stored", "data", "parallel", "checkpoint")
ROOMS = (
    *GROUND,
    "pictures",
    "features",
    "semantics",
    "datasets",
    "results",
    "methods",
    "evaluation",
    "tuning",
    "analysis",
    "report",
    "bench",
    "recogniser",
    "serve",
)
DOORS = {"cli", "moved", "__init__", "__main__"}  # they may import every room
# First words of a docstring that are no verb; a digit, a bracket or a backtick is none either.
NO_VERBS = {
    *("a", "an", "the", "this", "that", "these", "those", "all", "any", "each", "every", "both", "one", "some", "no"),
    *("what", "how", "whether", "where", "which", "when", "who", "whose", "why", "if", "as", "for", "from", "in", "of"),
    *("with", "it", "its", "there", "two", "three", "first", "last", "same", "such", "so", "only", "more", "best"),
    *("everything", "nothing", "somebody", "names", "numbers", "files", "rows", "pictures", "classes", "features"),
    *("scores", "settings", "methods", "values", "lines", "words", "attributes", "images", "losses", "on", "by", "at"),
    *("returns", "makes", "writes", "reads", "gives", "says", "takes", "called", "true", "false", "none", "not"),
}


@cache
def trees() -> dict[Path, ast.Module]:
    """Parse every source file of the package, by its path relative to the package."""
    found = sorted(SOURCE.rglob("*.py"))
    return {file.relative_to(SOURCE): ast.parse(file.read_text(encoding="utf-8")) for file in found}


def top_of(file: Path) -> str:
    """Name the room at the top of the package that a file is in: `methods/spaen/losses.py` is in `methods`."""
    return file.parts[0].removesuffix(".py")


def room_of(file: Path) -> str:
    """Name the innermost room that a file is in: `methods/spaen/losses.py` is in `methods/spaen`."""
    return file.parent.as_posix() if len(file.parts) > 1 else file.stem


def imported(file: Path) -> set[Path]:
    """List the files of the package that a file imports, wherever in it; imports for the type checker count too."""
    package = ["firstsight", *file.parts[:-1]]
    names = set()
    for node in ast.walk(trees()[file]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    found = set()
    for name in names:
        first, *rest = name.split(".")
        if first == "firstsight":
            places = (Path(*rest).with_suffix(".py") if rest else Path("__init__.py"), Path(*rest, "__init__.py"))
            found |= {place for place in places if place in trees()}
    return found - {Path("__init__.py")}


def imported_rooms(file: Path) -> set[str]:
    """Name the rooms at the top of the package that a file imports, its own left out."""
    return {top_of(other) for other in imported(file)} - {top_of(file)}


def arrows() -> set[tuple[str, str]]:
    """List the pairs (room, room that it imports) of innermost rooms."""
    pairs = {(room_of(file), room_of(other)) for file in trees() for other in imported(file)}
    return {(room, other) for room, other in pairs if room != other}


def circles(pairs: set[tuple[str, str]]) -> set[str]:
    """List the rooms or files that import each other, directly or by way of others."""
    below: dict[str, set[str]] = {}
    for one, other in pairs:
        below.setdefault(one, set()).add(other)

    def reached(one: str) -> set[str]:
        found: set[str] = set()
        waiting = [one]
        while waiting:
            for other in below.get(waiting.pop(), set()) - found:
                found.add(other)
                waiting.append(other)
        return found

    return {one for one in below if one in reached(one)}


def file_arrows() -> set[tuple[str, str]]:
    """List the pairs (file, file that it imports); the door of a room, `__init__`, may be named from inside it."""
    pairs = {(file, other) for file in trees() for other in imported(file)}
    return {(str(file), str(other)) for file, other in pairs if other != file.parent / "__init__.py"}


def upward() -> set[str]:
    """List the imports that run up the house, as `file imports room`."""
    return {
        f"{file} imports {other}"
        for file in trees()
        if top_of(file) not in DOORS
        for other in imported_rooms(file) - set(ROOMS[: ROOMS.index(top_of(file)) + 1])
    }


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """List every function and method of the package with its file."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield file, node


def without_verb() -> list[str]:
    """List the functions whose docstring does not start with a verb, as `file:line name: first words`."""
    found = []
    for file, node in functions():
        text = ast.get_docstring(node)
        if text is None:
            continue
        first = text.split()[0].rstrip(".,:;")
        if not first.isalpha() or not first[0].isupper() or first.lower() in NO_VERBS or first == first.upper():
            found.append(f"{file}:{node.lineno} {node.name}: {' '.join(text.split()[:8])}")
    return found


def is_private(name: str) -> bool:
    """Tell whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def private_across_rooms() -> list[str]:
    """List the private names that are used across rooms: imported, or asked of a module of another room."""
    found = []
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("firstsight"):
                private = (alias.name for alias in node.names if is_private(alias.name))
                found.extend(f"{file}:{node.lineno} {name}" for name in private)
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                owner = node.value
                own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
                if not own and node.attr not in defined_in(file):
                    found.append(f"{file}:{node.lineno} {node.attr}")
    return found


@cache
def defined_in(file: Path) -> frozenset[str]:
    """Name everything that a file's functions, classes and assignments define."""
    names = set()
    for node in ast.walk(trees()[file]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def lengths() -> dict[Path, int]:
    """Count the lines of every source file."""
    return {file: len((SOURCE / file).read_text(encoding="utf-8").splitlines()) for file in trees()}


def calling(*functions: str) -> list[Path]:
    """List the files that call a function of one of these dotted names, such as `os.walk`."""
    return [
        file
        for file, tree in trees().items()
        if any(isinstance(node, ast.Call) and ast.unparse(node.func) in functions for node in ast.walk(tree))
    ]


def members_of_method() -> tuple[int, int]:
    """Count the functions and the class variables in the body of `Method`."""
    tree = trees()[Path("methods/base.py")]
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Method"]
    variables = [
        node for node in body if isinstance(node, ast.AnnAssign) and "ClassVar" in ast.unparse(node.annotation)
    ]
    return sum(isinstance(node, ast.FunctionDef) for node in body), len(variables)


def opened(work: Callable[[], object]) -> set[str]:
    """Name the files of the package whose functions a call runs, networks and the data set itself left out."""
    found = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        """Note the file of a function that is called."""
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if (
            event == "call"
            and str(SOURCE) in file
            and name != "forward"
            and not file.endswith(("/data.py", "/stored.py"))
        ):
            found.add(str(Path(file).relative_to(SOURCE)))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def opened_by_a_step() -> set[str]:
    """Name the files that one training step of SP-AEN on pictures opens."""
    from firstsight.methods.fitting import FitControls
    from tests.support.trainings import loop_of_steps, picture_steps, spaen_pictures

    training = loop_of_steps(picture_steps(spaen_pictures(schedule="joint")))
    return opened(lambda: training.advance(FitControls()))


def main(words: list[str]) -> None:
    """Print what is asked for, the table where nothing is."""
    lists = {"verbs": without_verb, "private": private_across_rooms, "arrows": lambda: sorted(map(str, arrows()))}
    if words:
        print(*lists[words[0]](), sep="\n")
        return
    rooms = {room_of(file) for file in trees()} - {"__init__", "__main__"}
    rows = {
        "loose modules at the top": len([room for room in rooms if room in GROUND]),
        "rooms": len(rooms),
        "arrows": len(arrows()),
        "rooms in circles": len(circles(arrows())),
        "files in circles": len(circles(file_arrows())),
        "arrows that run up": len(upward()),
        "lines of Python": sum(lengths().values()),
        "files over 400 lines": sum(length > 400 for length in lengths().values()),
        "functions without a verb": len(without_verb()),
        "private names across rooms": len(private_across_rooms()),
        "walkers of picture folders": len(calling("os.walk", "os.scandir", "folder.rglob", "root.rglob")),
        "parsers of class tables": len(calling("csv.reader", "csv.DictReader")),
        "readers of feature files": len(calling("np.load", "numpy.load")),
        "functions of Method": members_of_method()[0],
        "class variables of Method": members_of_method()[1],
        "files of one step on pictures": len(opened_by_a_step()),
    }
    for name, value in rows.items():
        print(f"{name:<32}{value}")


if __name__ == "__main__":
    main(sys.argv[1:])
