"""A recogniser over HTTP: an API, and a page on which classes are described with sliders.

    app = make_app(Recogniser.load("birds.safetensors"), Limits(), state="birds.classes.db")

Pictures are decoded side by side and looked at in batches; classes that are added are kept in a small SQLite file.
Whatever a request asks wrongly is answered with one sentence, and no name in a request is ever used as a path.
"""

from firstsight.serve.app import make_app
from firstsight.serve.limits import Limits
from firstsight.serve.server import run

__all__ = ["Limits", "make_app", "run"]
