"""A recogniser of colours: a method that compares them, and a backbone that sees the mean colour of a picture."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from PIL import Image

from firstsight.data import ClassEmbeddings, TrainingSet
from firstsight.errors import InputError
from firstsight.methods import Method
from firstsight.methods.scaling import ClassScaling
from firstsight.recogniser.recogniser import Recogniser

ATTRIBUTES = ("has_colour::red", "has_colour::green", "has_colour::blue", "has_light::dark", "has_light::bright")
CLASSES = {  # name: attributes
    "001.Fire_engine": (1.0, 0.1, 0.1, 0.4, 0.6),
    "002.Meadow": (0.1, 1.0, 0.1, 0.5, 0.5),
    "003.Sea": (0.1, 0.1, 1.0, 0.6, 0.4),
    "004.Night": (0.1, 0.1, 0.2, 1.0, 0.0),
    "005.Snow": (0.9, 0.9, 0.9, 0.0, 1.0),
    "006.Lemon": (0.9, 0.9, 0.1, 0.1, 0.9),
}
UNSEEN = ("005.Snow", "006.Lemon")
WORDS = {name[4:].split("_")[0].lower(): values for name, values in CLASSES.items()}  # that the text model knows


@dataclass
class Eye:
    """A backbone whose features are the mean colour, and how dark and bright that is, in -1..1.

    Attributes:
        seconds: each batch takes.
        batches: sizes so far.
    """

    seconds: float = 0.0

    def __post_init__(self):
        self.batches = []
        self.preparation = SimpleNamespace(resize=16, crops=self.crops)

    @staticmethod
    def crops(picture, n_crops):
        assert n_crops == 1
        return np.asarray(picture.resize((8, 8)))[None]

    def rows(self, prepared):
        self.batches.append(len(prepared))
        time.sleep(self.seconds)
        colours = np.stack([each.mean(axis=(0, 1, 2)) for each in prepared]) / 127.5 - 1  # [n, 3]
        light = colours.mean(axis=1, keepdims=True)
        return np.concatenate([colours, -light, light], axis=1).astype(np.float32)


@dataclass(kw_only=True)
class Colours(Method):
    """Scores are minus the squared distance of what is seen and what a class is described as.

    Attributes:
        scored: names of the classes of each call of `scores`.
    """

    name = "colours"
    source = "tests"
    class_scaling: ClassScaling = "none"
    device: str = "cpu"

    def __post_init__(self):
        super().__post_init__()
        self.scored = []

    def _fit(self, training, controls):
        pass

    def _scores(self, features, vectors):
        return -((features[:, None] - (2 * vectors[None] - 1)) ** 2).sum(dim=2)

    def scores(self, inputs, candidates):
        self.scored.append(candidates.names)
        return super().scores(inputs, candidates)


@dataclass(kw_only=True)
class Painter(Colours):
    """A method that draws: a picture is reconstructed as its mean colour, a class looks like its red, green and blue.

    Attributes:
        seconds: each batch takes.
        batches: sizes so far.
    """

    seconds: float = 0.0
    draws = True
    view = 8

    def __post_init__(self):
        super().__post_init__()
        self.batches = []

    def painted(self, colours):
        self.batches.append(len(colours))
        time.sleep(self.seconds)
        return np.broadcast_to(colours[:, None, None], (len(colours), self.view, self.view, 3)).round().astype(np.uint8)

    def reconstructed(self, pictures):
        assert pictures.shape[1:] == (self.view, self.view, 3)
        return self.painted(pictures.mean(axis=(1, 2)))

    def imagined(self, classes):
        return self.painted(255 * classes.vectors[:, :3].clip(0, 1))


@dataclass
class Reader:
    """A text model that knows the words above: a class is the mean of its texts, and a text that of its words.

    Attributes:
        beside: columns of attributes that stand before those of the text.
        missing: what it says where it cannot be loaded, or None.
        seconds: each text takes.
        texts: that it was given, with the names.
    """

    beside: int = 0
    missing: str | None = None
    seconds: float = 0.0

    def __post_init__(self):
        self.texts = []

    def __call__(self, names, descriptions, attributes=None):
        if self.missing:
            raise InputError(self.missing)
        assert (attributes is None) == (self.beside == 0)
        self.texts += zip(names, descriptions, strict=True)
        time.sleep(self.seconds)
        rows = [np.mean([self.said(part) for part in text.split("|")], axis=0) for text in descriptions]
        return np.stack(rows) if attributes is None else np.hstack([attributes.vectors, np.stack(rows)])

    def said(self, text):
        said = [WORDS[word] for word in text.lower().split() if word in WORDS]
        return np.mean(said or [[0.5] * 5], axis=0)[self.beside :]


def colours(seconds=0.0, named=True, method=None, threshold=-4.0, words=None, text_source=None):
    """The recogniser of the colours above, whose method was fitted on the seen ones."""
    classes = ClassEmbeddings(tuple(CLASSES), np.array(list(CLASSES.values())), ATTRIBUTES if named else ())
    is_seen = np.array([name not in UNSEEN for name in CLASSES])
    known = classes[np.flatnonzero(is_seen)]
    features = (2 * known.vectors - 1).astype(np.float32)
    training = TrainingSet(features, np.arange(len(known)), known, features, (features.shape[1],))
    recogniser = Recogniser(
        (method or Colours()).fit(training),
        classes,
        is_seen,
        threshold=threshold,
        feature_source={"backbone": "colours", "crops": "1"},
        text_source=text_source,
    )
    vars(recogniser).update(backbone=Eye(seconds), words=words)  # in place of what would be loaded
    return recogniser


def worded(beside=0, missing=None, **changes):
    """The same, described by text, beside so many of the attributes."""
    attributes = {"weight": 0.5, "attributes": list(ATTRIBUTES[:beside])} if beside else {}
    source = {"model": "colours", **attributes}
    return colours(named=False, text_source=source, words=Reader(beside, missing), **changes)


def picture(colour="red", kind="PNG", size=(20, 12)) -> bytes:
    """The file of a picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def main():
    """Serve the colours, for tests that kill the server: `python colours.py STATE`."""
    import sys

    from firstsight.serve import make_app, run

    run(
        make_app(colours(method=Painter()), state=sys.argv[1]), port=0, ready=lambda address: print(address, flush=True)
    )


if __name__ == "__main__":
    main()
