"""Networks of torchvision: `resnet50`, or with weights other than the default, `resnet50/IMAGENET1K_V1`."""

from __future__ import annotations

from typing import Any

from firstsight.features.backbone import Preparation
from firstsight.features.weights import (
    LoadedNetwork,
    check_known,
    from_torch_hub,
    same_random_weights,
    without_last_linear,
)


def find(name: str, is_trained: bool) -> LoadedNetwork:
    """Load a network by its name, with trained weights or with the same random weights each time."""
    from torchvision import models

    name, _, wanted = name.partition("/")
    check_known(name, models.list_models(module=models), "backbone")
    kinds = models.get_model_weights(name)
    if wanted:
        check_known(wanted, [kind.name for kind in kinds], f"weights of {name}")
    weights = kinds[wanted] if wanted else kinds.DEFAULT
    if is_trained:
        with from_torch_hub(f"torchvision:{name}", weights.url):
            network = models.get_model(name, weights=weights)
    else:
        with same_random_weights():
            network = models.get_model(name, weights=None)
    full = f"{name}/{weights.name}" if is_trained else name
    return LoadedNetwork(full, without_last_linear(network, name), preparation(weights.transforms()))


def preparation(transforms: Any) -> Preparation:
    """Return the preparation that these transforms of torchvision do."""
    return Preparation(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
