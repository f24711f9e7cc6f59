"""Class embeddings from text: descriptions through a text model, or class names in the prompts of CLIP.

    words = text_embeddings(["owl", "auk"], ["A round face.|Hunts at night.", "Black and white."], "all-MiniLM-L6-v2")
    both = join(attributes, words, weight=0.5)
    data = firstsight.load("birds", semantics="text", vectors=ClassText("all-MiniLM-L6-v2"))

Models: a name or a folder of sentence-transformers, or `openclip:MODEL/WEIGHTS`, whose texts and pictures share one
space.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from firstsight.data import ClassEmbeddings, Floats
from firstsight.devices import torch_device
from firstsight.errors import InputError, first_of
from firstsight.features.weights import from_cache, hub_place, package

TextModel = Callable[[Sequence[str]], Floats]
MODEL = "all-MiniLM-L6-v2"  # the default: small, and good with sentences
SEPARATOR = "|"  # between descriptions of one class
CACHED = 1024  # sentences; 1.5 MB at 384 columns
TEMPLATES = (  # some of the prompts that CLIP was published with: the class in many kinds of pictures
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a cropped photo of a {}.",
    "a bright photo of a {}.",
    "a dark photo of a {}.",
    "a close-up photo of a {}.",
    "a photo of a large {}.",
    "a photo of a small {}.",
    "a photo of the {}.",
    "a drawing of a {}.",
)


def text_embeddings(
    names: Sequence[str], descriptions: Sequence[str], model: str | TextModel, device: str = "auto"
) -> ClassEmbeddings:
    """Embed descriptions of classes with a text model; vectors have unit length.

    Each description becomes a vector of unit length. The vector of a class is their mean, at unit length again.

    Args:
        names: the class of each description; a class may occur several times.
        descriptions: one for each name; `|` separates several in one text.
        model: its name, or a function from n texts to [n, a].
        device: torch device to work on.

    Returns:
        The classes in the order of their first occurrence.

    Raises:
        InputError: a class has no description, the model is unknown, or its weights are missing.
    """
    if len(names) != len(descriptions):
        raise InputError(f"descriptions must be one per class name; got {len(descriptions)} for {len(names)} names")
    texts: dict[str, list[str]] = {}
    for name, description in zip(names, descriptions, strict=True):
        parts = (part.strip() for part in str(description).split(SEPARATOR))
        texts.setdefault(str(name), []).extend(filter(None, parts))
    if missing := [name for name, of_class in texts.items() if not of_class]:
        got = first_of(missing, len(texts))
        raise InputError(f"descriptions must be there for every class; got none for {got}")
    return _mean_embeddings(texts, load_text_model(model, device) if isinstance(model, str) else model)


def prompt_embeddings(
    names: Sequence[str], model: str | TextModel, templates: Sequence[str] = TEMPLATES, device: str = "auto"
) -> ClassEmbeddings:
    """Embed class names, each put into all templates; the method `clip` needs these vectors, of unit length.

    Args:
        names: of the classes; underscores become spaces.
        model: its name, `openclip:MODEL/WEIGHTS` for features of that backbone, or a function from n texts to [n, a].
        templates: sentences with `{}` in place of the name.
        device: torch device to work on.
    """
    wrong = [template for template in templates if "{}" not in template]
    if wrong or not templates:
        raise InputError(f"templates must have {{}} in the place of the class name; got {(wrong or ['none'])[0]!r}")
    texts = {name: [template.replace("{}", name.replace("_", " ")) for template in templates] for name in names}
    return _mean_embeddings(texts, load_text_model(model, device) if isinstance(model, str) else model)


def join(attributes: ClassEmbeddings, text: ClassEmbeddings, weight: float = 0.5) -> ClassEmbeddings:
    """Join the columns of attributes and text, each at unit length, so that their cosines are averaged by weight.

    A cosine of joined vectors is (1 - weight) times that of the attributes plus weight times that of the text. The text
    must have all classes of the attributes, in any order; the weight is 0 to 1.
    """
    if not 0 <= weight <= 1:
        raise InputError(f"text weight must be 0 to 1; got {weight!r}")
    rows = {name: row for row, name in enumerate(text.names)}
    if missing := [name for name in attributes.names if name not in rows]:
        raise InputError(f"text must be there for every class; got none for {first_of(missing)}")
    in_order = text.vectors[[rows[name] for name in attributes.names]]
    parts = ((attributes.vectors, 1 - weight), (in_order, weight))
    joined = [np.sqrt(share) * _unit(np.asarray(part, dtype=np.float64)) for part, share in parts]
    return ClassEmbeddings(attributes.names, np.concatenate(joined, axis=1))


@dataclass
class ClassText:
    """Maker of the class embeddings of a data set from the names and descriptions of its classes.

    The description follows the name, as in "red kite: a raptor that soars"; several descriptions of a class are
    averaged. A class without a description is its name alone, for CLIP in its prompts. A leading number, underscores
    and plus signs, as in the names of the benchmarks, are removed.

    Attributes:
        model: name of a text model.
        weight: of the text beside attributes, 0 to 1.
        attributes: names of the attributes after a call that had some; None for text alone.
        device: torch device to work on.
    """

    model: str = MODEL
    weight: float = 0.5
    attributes: tuple[str, ...] | None = None
    device: str = "auto"

    def __call__(
        self, names: Sequence[str], descriptions: Sequence[str], attributes: ClassEmbeddings | None = None
    ) -> Floats:
        """Return vectors [c, a] of unit length.

        Args:
            names: of the c classes, all different.
            descriptions: c texts, empty for a class without one; `|` separates several in one text.
            attributes: the same classes, whose vectors are joined to the text; see `join`.
        """
        pairs = zip(names, descriptions, strict=True)
        text = _mean_embeddings({name: self.sentences(name, description) for name, description in pairs}, self._texts)
        self.attributes = None if attributes is None else attributes.attributes
        return text.vectors if attributes is None else join(attributes, text, self.weight).vectors

    def sentences(self, name: str, description: str) -> list[str]:
        """Return the sentences that the model is given for a class."""
        spoken = " ".join(re.sub(r"[_+]", " ", re.sub(r"^\d+\.", "", name)).split()) or name
        if parts := [part for one in description.split(SEPARATOR) if (part := one.strip())]:
            return [f"{spoken}: {part}" for part in parts]
        is_clip = self.model.removeprefix("random:").startswith("openclip:")
        return [template.replace("{}", spoken) for template in TEMPLATES] if is_clip else [spoken]

    @property
    def source(self) -> dict[str, Any]:
        """Return the fields that are needed to describe one more class in the same way: all but the device."""
        joined = {} if self.attributes is None else {"weight": self.weight, "attributes": list(self.attributes)}
        return {"model": self.model, **joined}

    @cached_property
    def _texts(self) -> TextModel:
        return CachedTextModel(load_text_model(self.model, self.device))


class CachedTextModel:
    """A text model with a cache of at most `most` recent texts; one thread uses it at a time."""

    def __init__(self, model: TextModel, most: int = CACHED) -> None:
        self.model, self.most = model, most
        self._rows: OrderedDict[str, Floats] = OrderedDict()  # the most recently used text is last
        self._lock = Lock()  # threads cannot share a tokenizer

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Embed n texts, [n, a]."""
        with self._lock:
            if new := [text for text in dict.fromkeys(texts) if text not in self._rows]:
                self._rows |= zip(new, map(np.array, self.model(new)), strict=True)  # copies, not views of all
            for text in texts:
                self._rows.move_to_end(text)
            found = np.stack([self._rows[text] for text in texts])
            while len(self._rows) > self.most:
                self._rows.popitem(last=False)
        return found


def checked_source(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `source` of a `ClassText` read from a file; raise an error of any kind if it is malformed."""
    source = {key: found[key] for key in (("model", "weight", "attributes") if len(found) > 1 else ("model",))}
    texts = (source["model"], *source.get("attributes", ()))
    if not all(isinstance(text, str) for text in texts) or not 0 <= source.get("weight", 0) <= 1:
        raise ValueError("a text model without a name, or a weight or attributes that are none")
    return source


def load_text_model(name: str, device: str = "auto") -> TextModel:
    """Load a function from n texts to [n, a] vectors.

    Args:
        name: a name or a folder of sentence-transformers, `openclip:MODEL/WEIGHTS`, or `random:openclip:MODEL`
            with random weights.
        device: torch device to work on.
    """
    where = torch_device(device)
    family, colon, of_family = name.removeprefix("random:").partition(":")
    if colon and family == "openclip":
        from firstsight.features.openclip import load_clip, text_features

        clip = load_clip(of_family, not name.startswith("random:"))
        return lambda texts: text_features(clip, texts, where).numpy()
    library = package("sentence_transformers", "text", f"text model {name}")
    package("transformers.utils.logging", "text", f"text model {name}").disable_progress_bar()  # of weights on disk
    with from_cache(name, *hub_place(name if "/" in name else f"sentence-transformers/{name}")):
        model = library.SentenceTransformer(name, device=str(where))
    return lambda texts: model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)


def _mean_embeddings(texts: dict[str, list[str]], model: TextModel) -> ClassEmbeddings:
    """Average the vectors of the texts of each class; each different text passes through the model once."""
    different = list(dict.fromkeys(text for of_class in texts.values() for text in of_class))
    rows = {text: row for row, text in enumerate(different)}
    vectors = _unit(np.asarray(model(different), dtype=np.float64))
    means = [vectors[[rows[text] for text in of_class]].mean(axis=0) for of_class in texts.values()]
    return ClassEmbeddings(tuple(texts), _unit(np.stack(means)).astype(np.float32))


def _unit(rows: Floats) -> Floats:
    """Scale rows to unit length; a row of zeros stays."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
