"""Networks of torchvision: `resnet50`, or with weights other than the best, `resnet50/IMAGENET1K_V1`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from firstsight.backbones.found import Found, check_known, from_cache, same_random_weights, without_last_linear
from firstsight.backbones.preparation import Preparation


def find(name: str, is_trained: bool) -> Found:
    """A network by its name."""
    import torch
    from torchvision import models

    name, _, wanted = name.partition("/")
    check_known(name, models.list_models(module=models), "backbone")
    kinds = models.get_model_weights(name)
    if wanted:
        check_known(wanted, [kind.name for kind in kinds], f"weights of {name}")
    weights = kinds[wanted] if wanted else kinds.DEFAULT
    if is_trained:
        file = Path(weights.url).name
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        with from_cache(f"torchvision:{name}", file, str(folder)):
            network = models.get_model(name, weights=weights)
    else:
        with same_random_weights(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of plans for other random weights
            network = models.get_model(name, weights=None)
    full = f"{name}/{weights.name}" if is_trained else name
    return Found(full, without_last_linear(network, name), preparation(weights.transforms()))


def preparation(transforms: Any) -> Preparation:
    """The same as these transforms, which belong to weights."""
    return Preparation(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
