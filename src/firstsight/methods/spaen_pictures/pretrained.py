"""Weights that SP-AEN on pictures starts from: AlexNet of ImageNet, and the published generator of pictures.

The generator is that of Dosovitskiy and Brox (Generating images with perceptual similarity metrics based on deep
networks, NIPS 2016), from the activations of fc6 after their ReLU to 256 x 256 pixels. Its authors publish it in their
release DeePSiM as `fc6/generator.caffemodel`.

The file itself was not at hand when this was written. Names, kinds and sizes of the layers, strides and the slope 0.3
are those of the definition with which Nguyen et al. run that file (Synthesizing the preferred inputs for neurons in
neural networks, NIPS 2016); the one of their own generator (Plug and play generative networks, CVPR 2017) is the same.
They feed the output to CaffeNet as it is, hence it is blue, green, red in 0..255 minus the mean. Which mean was used
in training, by pixel or by colour, and its decimals, is not known here. The file's sizes are checked when it is read;
that its pictures come out in the right colours was not seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from firstsight.errors import InputError
from firstsight.features.weights import from_torch_hub
from firstsight.methods.spaen_pictures.caffe import Layer, read_layers
from firstsight.methods.spaen_pictures.networks import COMPACT, FULL, backbone, perceptual_network

if TYPE_CHECKING:
    from firstsight.methods.spaen_pictures import SPAENPictures

# Layers in order, by their names in the file: the shape of the weights as torch has them. Linear [out, in];
# deconvN: ConvTranspose2d of stride 2, padding 1, [in, out, 4, 4]; convN_1: Conv2d of padding 1, [out, in, 3, 3].
SHAPES: dict[str, tuple[int, ...]] = {
    "defc7": (4096, 4096),
    "defc6": (4096, 4096),
    "defc5": (4096, 4096),  # reshaped to [256, 4, 4]
    "deconv5": (256, 256, 4, 4),
    "conv5_1": (512, 256, 3, 3),
    "deconv4": (512, 256, 4, 4),
    "conv4_1": (256, 256, 3, 3),
    "deconv3": (256, 128, 4, 4),
    "conv3_1": (128, 128, 3, 3),
    "deconv2": (128, 64, 4, 4),
    "deconv1": (64, 32, 4, 4),
    "deconv0": (32, 3, 4, 4),
}
KINDS = {"defc": ["InnerProduct"], "deconv": ["Deconvolution"], "conv": ["Deconvolution", "Convolution"]}
MEAN_BGR = (104.0, 117.0, 123.0)  # of ImageNet in 0..255, as is usual with CaffeNet


def phi_of(settings: SPAENPictures, device: torch.device) -> nn.Module | None:
    """Return phi, with random weights still, or None where it would have learned nothing.

    With random weights it would do harm: photographs of held-out classes came back with a pixel error of .061
    instead of .040 after two passes.
    """
    if settings.pretrained == "none" or not (settings.alpha and settings.perceptual_weight):
        return None
    with torch.random.fork_rng([]):  # the rest draws the same with and without it
        return perceptual_network(settings.side, settings.width).to(device).to(memory_format=torch.channels_last)


def start_from_published(settings: SPAENPictures, networks: Any, phi: Any) -> None:
    """Replace random weights by published ones, in networks by name and phi; what is to be frozen learns no more.

    Raises:
        InputError: weights that are not there, or damaged.
    """
    if settings.pretrained == "imagenet":
        if settings.end_to_end not in ("", COMPACT):
            networks["backbone"].load_state_dict(backbone(settings.end_to_end, is_trained=True).state_dict())
        weights = alexnet_weights()
        readers = [networks[part] for part in ("encoder",) if part in networks] + ([] if phi is None else [phi])
        for network in readers:
            own = network.convolutions.state_dict()
            network.convolutions.load_state_dict({name: weights[f"features.{name}"] for name in own})
        if "encoder" in networks and settings.side == FULL:
            fc6 = {name: weights[f"classifier.1.{name}"] for name in ("weight", "bias")}
            networks["encoder"].fc6.load_state_dict(fc6)
        if "encoder" in networks and settings.freeze_encoder:
            networks["encoder"].convolutions.requires_grad_(False)
            networks["encoder"].fc6.requires_grad_(settings.side != FULL)  # of another size, it has no such weights
    if settings.generator_file and "generator" in networks:
        for name, value in published_generator(settings.generator_file).items():
            networks["generator"].get_parameter(name).requires_grad_(not settings.freeze_generator).data.copy_(value)


def alexnet_weights() -> dict[str, Tensor]:
    """Return AlexNet as torchvision trained it on ImageNet, by torchvision's names, from the cache of `torch.hub`.

    Raises:
        InputError: the weights are not there and cannot be fetched, or are damaged.
    """
    from torchvision.models import AlexNet_Weights

    weights = AlexNet_Weights.IMAGENET1K_V1
    with from_torch_hub("torchvision:alexnet", weights.url):
        state: dict[str, Tensor] = weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    return state


def published_generator(path: str | Path) -> dict[str, Tensor]:
    """Read the published generator from its `.caffemodel`, for a network whose pictures are red, green, blue in 0..1.

    Returns:
        `LAYER.weight` in the shape that `SHAPES` has and `LAYER.bias`, for each of its layers.

    Raises:
        InputError: a file that cannot be read, or one of another network.
    """
    layers = read_layers(path)
    if missing := [name for name in SHAPES if name not in layers]:
        raise InputError(
            f"generator {path} must have the layers of the published fc6 generator; "
            f"got none named {', '.join(missing)}, but {', '.join(sorted(layers))[:160]}"
        )
    state = {}
    for name in SHAPES:
        weight, bias = _learned(name, layers[name], path)
        if name == "deconv0":
            weight, bias = _to_rgb(weight, bias)
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    return state


def _learned(name: str, layer: Layer, path: str | Path) -> tuple[Tensor, Tensor]:
    """Return weights and biases of a layer as torch has them.

    Caffe keeps a deconvolution as torch does, [in, out, k, k]. One of stride 1, which the convN_1 are in the file, is a
    convolution with the axes exchanged and the kernel turned by half a turn.
    """
    rows, columns, *sides = SHAPES[name]
    kinds = KINDS[name.rstrip("_1234567890")]
    if layer.kind not in kinds:
        raise InputError(f"layer {name} of {path} must be {' or '.join(kinds)}; got {layer.kind}")
    is_turned = name.startswith("conv") and layer.kind == "Deconvolution"
    expected = (columns, rows, *sides) if is_turned else SHAPES[name]
    n_out = columns if name.startswith("deconv") else rows
    found = [
        _without_ones(blob.shape, len(want)) for blob, want in zip(layer.blobs, (expected, (n_out,)), strict=False)
    ]
    if len(layer.blobs) != 2 or found != [expected, (n_out,)]:
        shapes = " and ".join(str(blob.shape) for blob in layer.blobs)
        raise InputError(f"layer {name} of {path} must have shapes {expected} and {(n_out,)}; got {shapes}")
    if not all(np.isfinite(blob).all() for blob in layer.blobs):
        raise InputError(f"layer {name} of {path} must have finite weights; got NaN or inf")
    weight, bias = (torch.from_numpy(blob) for blob in layer.blobs)
    weight, bias = weight.reshape(expected), bias.reshape(n_out)
    return (weight.transpose(0, 1).flip(2, 3).contiguous() if is_turned else weight), bias


def _without_ones(shape: tuple[int, ...], n_axes: int) -> tuple[int, ...]:
    """Return a shape without the leading 1s with which older files give every blob four axes."""
    spare = len(shape) - n_axes
    return shape[spare:] if spare > 0 and set(shape[:spare]) == {1} else shape


def _to_rgb(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the last layer [in, 3, k, k], which draws blue, green, red in 0..255 minus the mean, to RGB in 0..1."""
    return weight.flip(1) / 255, (bias + bias.new_tensor(MEAN_BGR)).flip(0) / 255
