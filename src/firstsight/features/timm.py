"""Networks of timm: `resnet50`, or with other weights by their name, `resnet50.tv_in1k`."""

from __future__ import annotations

import math
from typing import Any

from firstsight.errors import InputError
from firstsight.features.backbone import Preparation
from firstsight.features.weights import LoadedNetwork, check_known, from_cache, hub_place, package, same_random_weights


def find(name: str, is_trained: bool) -> LoadedNetwork:
    """Load a network by its name, with trained weights or with the same random weights each time."""
    timm = package("timm", "timm", f"backbone timm:{name}")
    kind = name.partition(".")[0]
    check_known(kind, timm.list_models(), "backbone")
    if kind != name:
        check_known(name, timm.list_models(f"{kind}.*", pretrained=True), "backbone")
    if is_trained:
        known = timm.get_pretrained_cfg(name)
        if known is None or not known.has_weights:
            raise InputError(f"backbone must have trained weights; got timm:{name}, which has none; see random:timm")
        with from_cache(f"timm:{name}", *hub_place(known.hf_hub_id or known.url or name)):
            network = timm.create_model(name, pretrained=True, num_classes=0)
    else:
        with same_random_weights():
            network = timm.create_model(name, pretrained=False, num_classes=0)
    tag = network.pretrained_cfg.get("tag")
    full = f"{kind}.{tag}" if is_trained and tag else kind
    return LoadedNetwork(full, network, preparation(timm.data.resolve_data_config(model=network), full))


def preparation(config: dict[str, Any], name: str) -> Preparation:
    """Return the preparation that timm's configuration describes."""
    _, height, width = config["input_size"]
    if height != width or config["crop_mode"] not in ("center", "squash"):
        raise InputError(
            f"backbone must take square pictures without borders; got timm:{name}, "
            f"which takes {width} x {height} with {config['crop_mode']}"
        )
    return Preparation(
        resize=math.floor(height / config["crop_pct"]),
        crop=height,
        interpolation=config["interpolation"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        squash=config["crop_mode"] == "squash",
    )
