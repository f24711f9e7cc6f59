"""Pictures to features with a pretrained network: torchvision's, timm's or OpenCLIP's; one file for each.

    backbone = load_backbone("resnet50")
    features = backbone.features(["images/owl/1.jpg", "images/owl/2.jpg"])  # [n, v]

A backbone is a network without its classifier, and the way its pictures are prepared: as they were in its own training.
"""

from __future__ import annotations

from firstsight.devices import torch_device
from firstsight.errors import InputError
from firstsight.features import openclip, timm, torchvision
from firstsight.features.backbone import Backbone, Precision

FAMILIES = {"torchvision": torchvision.find, "timm": timm.find, "openclip": openclip.find}


def load_backbone(
    name: str, device: str = "auto", precision: Precision = "float32", batch: int | None = None
) -> Backbone:
    """Load a backbone by its name.

    Args:
        name: `resnet50` or `torchvision:resnet50`, with weights other than the best as in
            `torchvision:resnet50/IMAGENET1K_V1`; `timm:NAME`; `openclip:MODEL/WEIGHTS`; or `random:` before any of
            these for the network without what it learned, always the same.
        device: torch device to work on; `auto` takes a GPU where there is one.
        precision: `bf16` computes in half the digits, which is faster where the device knows how.
        batch: crops that go through the network at once; chosen where None.

    Raises:
        InputError: an unknown name, a package that is not installed, or weights that are not there.
    """
    if precision not in ("float32", "bf16"):
        raise InputError(f"precision must be float32 or bf16; got {precision!r}")
    if batch is not None and batch < 1:
        raise InputError(f"batch must be 1 or more; got {batch}")
    where = torch_device(device)
    is_random = name.startswith("random:")
    family, colon, of_family = name.removeprefix("random:").partition(":")
    if not colon:
        family, of_family = "torchvision", family
    if family not in FAMILIES or not of_family:
        raise InputError(
            "backbone must be NAME or torchvision:NAME, timm:NAME or openclip:MODEL/WEIGHTS, "
            f"or random: and one of these; got {name!r}"
        )
    found = FAMILIES[family](of_family, not is_random)
    full = f"random:{family}:{found.name}" if is_random else f"{family}:{found.name}"
    return Backbone(full, found.network, found.preparation, where, precision, batch)
