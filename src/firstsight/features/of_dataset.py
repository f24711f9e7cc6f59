"""Features of a data set's own pictures, computed once and kept in the cache.

    data = with_frozen_features(data, "resnet50")   # or "compact", which needs no download

Rows are known by the content of their pictures, so a second call computes none of them again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firstsight import checkpoint
from firstsight.data import Dataset
from firstsight.errors import InputError
from firstsight.features.compact import compact_features
from firstsight.features.extract import extract
from firstsight.features.feature_file import FeatureFile
from firstsight.features.load import load_backbone
from firstsight.files import cache_folder
from firstsight.pictures.cache import with_pictures
from firstsight.progress import StageProgress

COMPACT = "compact"
COMPACT_SIDE = 56  # stored as 64, which is what that network sees
VERSION = 1  # raise it when the compact network changes: old files of the cache are then ignored


def with_frozen_features(
    data: Dataset, backbone: str, device: str = "auto", progress: StageProgress | None = None, cache: Path | None = None
) -> Dataset:
    """Return the data set with features that a backbone makes of its pictures.

    Args:
        data: with `paths`; all of them pictures that can be read.
        backbone: a name as for `load_backbone`; or `compact`, a small network trained on the training pictures alone.
        device: on which the backbone works.
        progress: called with (pictures or passes done, in all, losses).
        cache: folder for the features; `features` in the user's cache folder where None.

    Raises:
        InputError: no pictures, one that cannot be read, or a backbone that is not there.
    """
    if not data.paths or data.root is None:
        raise InputError(f"data set {data.name!r} must have picture files for a backbone to look at; got none")
    cache = cache_folder() / "features" if cache is None else cache
    if backbone == COMPACT:
        features = _compact(data, cache, progress)
        return replace(data, features=features, feature_widths=(), crops=None, feature_source=None)
    network, root = load_backbone(backbone, device), Path(data.root).resolve()
    digest = hashlib.sha256(os.fsencode(f"{root}\0{network.name}")).hexdigest()[:12]
    out = cache / f"{root.name[:40]}-{digest}.safetensors"
    extract(root, network, out, progress=progress, paths=dict.fromkeys(data.paths))
    file = FeatureFile.open(out)
    features = file.features[file.rows_of(data.paths)]
    return replace(data, features=features, feature_widths=(), crops=None, feature_source=file.source)


def _compact(data: Dataset, cache: Path, progress: StageProgress | None) -> np.ndarray:
    """Return [n, v] features of the compact network, which is trained if it was not on these pictures before."""
    pictures: Any = with_pictures(data, COMPACT_SIDE)[0].pictures
    digest = hashlib.sha256(f"{VERSION}".encode())
    for array in (data.trainval, data.labels[data.trainval]):
        digest.update(np.ascontiguousarray(array).data)
    for start in range(0, len(pictures), 256):
        digest.update(np.ascontiguousarray(pictures[start : start + 256]).data)
    out = cache / f"{COMPACT}-{digest.hexdigest()[:24]}.safetensors"
    if not out.exists():
        report = None if progress is None else lambda _, *rest: progress(*rest)
        features = compact_features(pictures, data.trainval, data.labels, progress=report)
        checkpoint.write(out, {"features": torch.from_numpy(features)}, {})
    return checkpoint.read(out)[0]["features"].numpy()
