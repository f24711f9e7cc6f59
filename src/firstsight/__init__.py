"""firstsight: zero-shot visual recognition from descriptions of classes.

import firstsight as fs

data = fs.load("path/to/CUB", features="res101.mat")
method = fs.methods.SPAEN(seed=0).fit(data.training_set())
print(fs.evaluate(method, data))
"""

import importlib
from typing import TYPE_CHECKING, Any

from firstsight.errors import InputError

if TYPE_CHECKING:
    from firstsight import methods
    from firstsight.data import ClassEmbeddings, Dataset, TrainingSet
    from firstsight.datasets import load
    from firstsight.evaluation.evaluate import Result, evaluate
    from firstsight.methods import load_method
    from firstsight.recogniser.recogniser import Recogniser

__version__ = "0.1.0"
__all__ = [
    "ClassEmbeddings",
    "Dataset",
    "InputError",
    "Recogniser",
    "Result",
    "TrainingSet",
    "evaluate",
    "load",
    "load_method",
    "methods",
]

__path__ = [*__path__, f"{__path__[0]}/moved"]  # modules under the names that they had in version 0.1

# torch takes a second to import: names come when they are first used
_HOMES = {
    "ClassEmbeddings": "data",
    "Dataset": "data",
    "TrainingSet": "data",
    "load": "datasets",
    "Result": "evaluation.evaluate",
    "evaluate": "evaluation.evaluate",
    "load_method": "methods",
    "Recogniser": "recogniser.recogniser",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"firstsight.{_HOMES[name]}"), name)
    elif name == "methods":
        value = importlib.import_module("firstsight.methods")
    else:
        raise AttributeError(f"module 'firstsight' has no attribute {name!r}")
    globals()[name] = value
    return value
