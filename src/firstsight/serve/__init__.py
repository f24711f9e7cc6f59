"""A recogniser over HTTP: an API, and a page on which classes are described with sliders.

    app = make_app(Recogniser.load("birds.safetensors"), Limits(), state="birds.classes.db")

Pictures are decoded in parallel and go through the backbone in batches. Added classes are kept in a small SQLite file.
Whatever is wrong with a request is answered with one sentence, and no name in a request is ever used as a path.
"""

from firstsight.serve.app import make_app
from firstsight.serve.limits import Limits
from firstsight.serve.server import run

__all__ = ["Limits", "make_app", "run"]
