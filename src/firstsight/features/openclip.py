"""CLIP models of OpenCLIP, `ViT-B-32/laion2b_s34b_b79k`: image encoders as backbones, text encoders for `semantics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from firstsight.errors import InputError
from firstsight.features.backbone import Preparation
from firstsight.features.weights import LoadedNetwork, check_known, from_cache, hub_place, package, same_random_weights


@dataclass(frozen=True)
class Clip:
    """A model with both of its encoders."""

    name: str  # MODEL/WEIGHTS, or MODEL with random weights
    model: Any  # OpenCLIP's own object
    tokens: Callable[[Sequence[str]], Tensor]  # the tokenizer, from n sentences to [n, length] numbers


def find(name: str, is_trained: bool) -> LoadedNetwork:
    """Load the image encoder of a model, whose vectors share a space with those of texts; they are not normalised."""
    clip = load_clip(name, is_trained)
    return LoadedNetwork(clip.name, clip.model.visual, preparation(clip))


def preparation(clip: Clip) -> Preparation:
    """Return the preparation that OpenCLIP's configuration of this model describes."""
    about = clip.model.visual.preprocess_cfg
    size = about["size"]
    width, height = (size, size) if isinstance(size, int) else size
    if width != height or about["resize_mode"] == "longest":
        raise InputError(f"backbone must take square pictures without borders; got openclip:{clip.name}")
    return Preparation(
        resize=width,
        crop=width,
        interpolation="bilinear" if about["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        squash=about["resize_mode"] == "squash",
    )


def load_clip(name: str, is_trained: bool) -> Clip:
    """Load both encoders of a model by its name."""
    open_clip = package("open_clip", "openclip", f"backbone openclip:{name}")
    model, _, weights = name.partition("/")
    check_known(model, open_clip.list_models(), "CLIP model")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if is_trained:
        if not weights:
            raise InputError(
                f"backbone openclip:{model} must name its weights; got none; "
                f"they are {', '.join(tags) or 'not published'}"
            )
        check_known(weights, tags, f"weights of {model}")
        about = open_clip.get_pretrained_cfg(model, weights)
        place = hub_place(about["hf_hub"].rsplit("/", 1)[0] if about.get("hf_hub") else about.get("url", name))
        with from_cache(f"openclip:{name}", *place):
            # some weights need another activation than the model's default
            made = open_clip.create_model(model, weights, force_quick_gelu=about.get("quick_gelu", False))
    else:
        with same_random_weights():
            made = open_clip.create_model(model, None, pretrained_text=False)
    return Clip(name if is_trained else model, made.eval(), open_clip.get_tokenizer(model))


def text_features(clip: Clip, texts: Sequence[str], device: torch.device, batch: int = 256) -> Tensor:
    """Embed n texts, [n, a]; vectors are not normalised."""
    model = clip.model.to(device)
    with torch.inference_mode():
        parts = (clip.tokens(list(texts[at : at + batch])).to(device) for at in range(0, len(texts), batch))
        return torch.cat([model.encode_text(part).float().cpu() for part in parts])
