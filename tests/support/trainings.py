"""Tiny trainings of SP-AEN on features and on pictures, as wholes and step by step."""

import numpy as np
import pytest
import torch
from torch import nn

from firstsight.data import Crops, Pictures
from firstsight.errors import InputError
from firstsight.methods import SPAEN, SPAENPictures
from firstsight.methods.distributed import Ranks
from firstsight.methods.fitting import CropFeatures, TrainingTensors
from firstsight.methods.loop import Loop
from firstsight.methods.spaen.steps import FeatureSteps, loop_of
from firstsight.methods.spaen_pictures.networks import perceptual_network
from firstsight.methods.spaen_pictures.steps import Material, PictureSteps
from tests.support.tiny import FAST, flat_parameters, painted, tiny_dataset

DATA = tiny_dataset(side=37)
PLAIN = {"schedule": "two-stage", "decay": "constant", "dropout": 0.0, "steps": 4, "autoencoder_steps": 3}
PLAIN |= {"device": "cpu"}
ON_FEATURES = FAST["spaen"] | PLAIN | {"beta": 0.5, "hidden": 6, "lipschitz": "penalty", "learning_rate": 1e-3}


def spaen(**changes) -> SPAEN:
    """Make tiny settings; `steps` and `autoencoder_steps` become passes over the 48 images that tests train on."""
    settings = ON_FEATURES | changes
    for name in ("steps", "autoencoder_steps"):
        settings[name.replace("steps", "epochs")] = settings.pop(name) * settings["batch"] / 48
    return SPAEN(**settings)


def spaen_pictures(**changes) -> SPAENPictures:
    """Make tiny settings; `steps` and `autoencoder_steps` become passes over the 48 images that tests train on."""
    settings = FAST["spaen-pictures"] | PLAIN | changes
    for stage, batch in (("", "batch"), ("autoencoder_", "autoencoder_batch")):
        settings[f"{stage}epochs"] = settings.pop(f"{stage}steps") * settings[batch] / 48
    return SPAENPictures(**settings)


def feature_steps(method: SPAEN, w: int = 9) -> FeatureSteps:
    """Make steps of tiny networks on random tensors: 48 images, 7 features, 5 classes of 4 attributes."""
    torch.manual_seed(3)
    features, vectors = torch.randn(48, 7), nn.functional.normalize(torch.randn(5, 4))
    networks = method._networks(7, w, 4)
    images = TrainingTensors(features, torch.arange(48) % 5, vectors, torch.randn(48, w), (w,))
    return FeatureSteps(method, networks, images, Ranks())


def picture_material(method: SPAENPictures, with_crops: bool = False) -> Material:
    """Make random features and painted pictures: 48 images, 7 features, 5 classes of 4 attributes.

    The features of crops, where there are some, are those of the whole plus the number of the crop.
    """
    torch.manual_seed(3)
    features, vectors = torch.randn(48, 7), nn.functional.normalize(torch.randn(5, 4))
    pictures = Pictures(painted(48, 37), np.arange(48))
    crops = None
    if with_crops:
        store = features[:, None].numpy() + np.arange(10, dtype=np.float32)[:, None]
        crops = CropFeatures(Crops(store, np.arange(48)), torch.from_numpy)
    images = TrainingTensors(features, torch.arange(48) % 5, vectors, features, (7,), pictures, crops)
    networks = method._networks(320 if method.end_to_end else 7, 0, 4)
    has_phi = method.alpha and method.perceptual_weight  # with random weights, which the method itself leaves out
    return Material(method, networks, images, perceptual_network(32, method.width) if has_phi else None, Ranks())


def picture_steps(method: SPAENPictures, with_crops: bool = False):
    """Make the steps of the method's variant on random tensors."""
    return method.way.steps(picture_material(method, with_crops))


def loop_of_steps(steps: FeatureSteps | PictureSteps) -> Loop:
    """Make the loop that takes these steps."""
    return loop_of(steps.settings, steps.networks, steps.stages, steps.optimisers, [])


def copied(networks: nn.ModuleDict) -> dict[str, torch.Tensor]:
    """Copy the parameters of each network into one vector."""
    return {name: flat_parameters(network).clone() for name, network in networks.items()}


def with_plain_descent(steps):
    """Turn every optimiser into gradient descent of rate 1, so that a step shows its gradient."""
    for name, optimiser in steps.optimisers.items():
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        steps.optimisers[name] = torch.optim.SGD(parameters, lr=1.0)
    return steps


def says(sentence: str, function, *arguments, **options) -> None:
    """Assert that a call fails with this sentence."""
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


def unclipped(monkeypatch) -> None:
    """Leave gradients as long as they are."""
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)


def shown_to(made, monkeypatch) -> list:
    """List (pictures, rows) of each piece of a batch, as a step takes them."""
    taken, read = [], made.pictures.views

    def views(rows):
        taken.append((read(rows), rows))
        return taken[-1][0]

    monkeypatch.setattr(made.pictures, "views", views)
    return taken


def gradient(loss, network) -> torch.Tensor:
    """Return the gradient of a loss for all parameters of a network, in one vector."""
    parts = torch.autograd.grad(loss, tuple(network.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])
