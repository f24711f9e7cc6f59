"""Data sets of a few dozen images for tests, made in a millisecond."""

import json
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from firstsight.data import ClassEmbeddings, Dataset, TrainingSet
from firstsight.methods import METHODS
from firstsight.methods.abilities import needs_pictures

FAST = {  # settings with which a method is fitted in milliseconds
    "ale": {"epochs": 3, "batch": 16},
    "cmt": {"hidden": 5, "epochs": 2, "batch": 16},
    "cmt_star": {"hidden": 5, "epochs": 2, "batch": 16, "neighbours": 4},
    "devise": {"epochs": 3, "batch": 16},
    "latem": {"epochs": 3, "batch": 16, "n_maps": 2},
    "sje": {"epochs": 3, "batch": 16},
    "spaen": {
        "alpha": 1.0,
        "beta": 0.1,
        "hidden": 5,
        "epochs": 0.8,
        "autoencoder_epochs": 0.6,
        "critic_steps": 2,
        "batch": 8,
    },
    "spaen-pictures": {
        "alpha": 1.0,
        "beta": 0.1,
        "hidden": 5,
        "epochs": 0.8,
        "autoencoder_epochs": 0.6,
        "critic_steps": 2,
        "batch": 8,
        "autoencoder_batch": 6,
        "side": 32,
        "width": 1 / 64,
        "pretrained": "none",
    },
    "sse": {"epochs": 2, "batch": 16},
    "sync": {"lam": 0.1},
}

torch.set_num_threads(1)  # tiny tensors gain nothing from threads, and tests run side by side


def tiny_dataset(
    seed: int = 0,
    n_seen: int = 6,
    n_unseen: int = 3,
    per_class: int = 10,
    v: int = 7,
    a: int = 4,
    noise: float = 0.3,
    w: int | None = None,
    side: int | None = None,
    **changes,
) -> Dataset:
    """Images that are noisy linear maps of their class embeddings; seen and unseen classes are interleaved.

    A fifth of each seen class's images are `test_seen`; images come in random order.

    Args:
        seed: of everything.
        n_seen: classes with training images.
        n_unseen: classes without.
        per_class: images of each.
        v: columns of the features.
        a: columns of the class embeddings.
        noise: standard deviation of what is added to every feature.
        w: columns of `reconstruction_features`, or None for none.
        side: pixels of the sides of random pictures, or None for none.
        changes: of the arguments of `Dataset`.
    """
    rng = np.random.default_rng(seed)
    c = n_seen + n_unseen
    vectors = rng.normal(size=(c, a))
    names = tuple(f"class {chr(97 + row)}" for row in range(c))
    is_unseen = np.zeros(c, dtype=bool)
    is_unseen[rng.choice(c, n_unseen, replace=False)] = True
    labels = rng.permutation(np.repeat(np.arange(c), per_class))
    is_test = np.zeros(len(labels), dtype=bool)
    for row in np.flatnonzero(~is_unseen):
        is_test[np.flatnonzero(labels == row)[: per_class // 5]] = True

    def images(columns):
        clean = vectors[labels] @ rng.normal(size=(a, columns))
        return (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)

    given = {
        "name": "tiny",
        "classes": ClassEmbeddings(names, vectors, tuple(f"attribute {column}" for column in range(a))),
        "labels": labels,
        "trainval": np.flatnonzero(~is_unseen[labels] & ~is_test),
        "test_seen": np.flatnonzero(is_test),
        "test_unseen": np.flatnonzero(is_unseen[labels]),
        "features": images(v),
        "reconstruction_features": None if w is None else images(w),
        "pictures": () if side is None else painted(len(labels), side, seed),
    }
    return Dataset(**(given | changes))


def painted(n: int, side: int, seed: int = 0) -> np.ndarray:
    """[n, side, side, 3] pictures: smooth in two directions, each with colours of its own."""
    rng = np.random.default_rng([seed, side])
    colours = rng.uniform(0, 255, (2, n, 1, 1, 3))
    across = np.linspace(0, 1, side)[:, None]
    corner = np.maximum(across[None], across[:, None])[None]  # [1, side, side, 1]
    return (corner * colours[0] + (1 - corner) * colours[1]).astype(np.uint8)


def widths(name: str, v: int = 7, a: int = 4) -> dict[str, int]:
    """What tiny data must be like for a method: columns of features and class embeddings, sides of pictures."""
    kind = METHODS[name]
    return {"v": v, "a": v if kind.one_space else a} | ({"side": 37} if needs_pictures(kind) else {})


def tiny_training(**options) -> TrainingSet:
    """The training set of `tiny_dataset`."""
    return tiny_dataset(**options).training_set()


def flat_parameters(network: torch.nn.Module) -> torch.Tensor:
    """All parameters in one vector, for tests of equality."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def write_gbu(folder: Path, data: Dataset) -> Path:
    """The data set as a folder in the GBU layout; reconstruction features go to `other.mat`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.empty((len(data.classes), 1), dtype=object)
    names[:, 0] = data.classes.names
    splits = {f"{name}_loc": getattr(data, name)[:, None] + 1 for name in ("trainval", "test_seen", "test_unseen")}
    savemat(folder / "att_splits.mat", {"att": data.classes.vectors.T, "allclasses_names": names, **splits})
    for file, features in (("res101.mat", data.features), ("other.mat", data.reconstruction_features)):
        if features is not None:
            savemat(folder / file, {"features": features.T, "labels": data.labels[:, None] + 1})
    return folder


def tiny_clip(folder: Path) -> str:
    """The name of a CLIP model of OpenCLIP that is made in milliseconds: 12 numbers for a picture or a text."""
    import open_clip

    vision = {"image_size": 40, "layers": 1, "width": 16, "head_width": 8, "patch_size": 20}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    (folder / "tiny-clip.json").write_text(json.dumps({"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(folder / "tiny-clip.json")
    return "tiny-clip"
