"""Every value of every preset of SP-AEN, against a table of what the paper prints and what the authors' code does."""

import pytest

from firstsight.methods import SPAEN, SPAENPictures

# setting: letter of the paper, authors' code. None: the preset leaves the default, which has no effect there.
TABLE = {
    "alpha": (10.0, 10.0),
    "beta": (5.0, 50.0),
    "classification_weight": (1.0, 1000.0),
    "classification": ("ranking", "ranking"),
    "compatibility": ("dot", "dot"),
    "margin": (0.2, 0.2),
    "negatives": ("random", "violating"),
    "temperature": (None, None),  # of the softmax
    "scaling": ("l2", "l2"),
    "class_scaling": ("l2", "l2"),
    "reconstruction_scaling": ("l2", "none"),
    "reconstruction": ("sum", "mean"),
    "hidden": (1024, 1024),
    "slope": (0.2, 0.3),
    "output": ("leaky", "leaky"),
    "encoder_output": ("linear", "leaky"),
    "generator_output": ("linear", "leaky"),
    "dropout": (0.5, 0.5),
    "norm_weight": (0.0, 2.0),
    "schedule": ("joint", "two-stage"),
    "epochs": (36.0, 100.0),
    "autoencoder_epochs": (None, 100.0),  # of two stages
    "batch": (128, 128),
    "optimiser": ("adam", "adam"),
    "learning_rate": (1e-3, 1e-4),
    "decay": ("plateau", "constant"),
    "patience": (5, None),
    "weight_decay": (5e-6, 5e-6),
    "weight_decay_form": ("decoupled", "loss"),
    "clip_each": (False, True),
    "critic_output": ("linear", "sigmoid"),
    "critic_weight": (1.0, 50.0),
    "lipschitz": ("clip", "penalty"),
    "penalty": (None, 10.0),
    "clip": (0.01, None),
    "critic_steps": (5, 5),
    "critic_order": ("before", "after"),
    "critic_rows": ("independent", "shared"),
    "seed": (0, 0),
    "device": ("auto", "auto"),
}
ON_PICTURES = {  # where it differs from features, and what is new there
    "alpha": (10.0, 1.0),
    "learning_rate": (1e-4, 1e-4),
    "generator_output": ("leaky", "leaky"),  # of the part of G before the published generator
    "autoencoder_epochs": (36.0, 36.0),
    "side": (256, 256),
    "pretrained": ("imagenet", "imagenet"),
    "generator_file": ("", ""),  # the user's
    "width": (1.0, 1.0),
    "perceptual_weight": (1.0, 3.0),
    "pixel_weight": (1.0, 0.03 * 255**2),
    "autoencoder_batch": (128, 128),
    "autoencoder_rate": (1e-4, 1e-4),
    "autoencoder_beta1": (0.9, 0.5),
    "freeze_encoder": (False, True),
    "freeze_generator": (True, True),
    "backbone_rate": (1e-4, 1e-4),
    "accumulate": (1, 1),
    "precision": ("float32", "float32"),
    "compile": (False, False),
    "end_to_end": ("", ""),
    "variant": ("spaen", "spaen"),
}
BETAS = {"table2": 5.0, "figure7": 50.0}  # of the captions, read as flags of the code


@pytest.mark.parametrize("kind", [SPAEN, SPAENPictures])
@pytest.mark.parametrize("preset", ["paper", "authors", "table2", "figure7"])
def test_every_value_of_a_preset(kind, preset):
    table = TABLE if kind is SPAEN else TABLE | ON_PICTURES
    settings, defaults = kind.preset(preset).settings(), kind().settings()
    assert settings.keys() == table.keys()
    expected = {name: row[preset != "paper"] for name, row in table.items()}
    expected |= {"beta": BETAS.get(preset, expected["beta"])}
    assert settings == {name: defaults[name] if value is None else value for name, value in expected.items()}


@pytest.mark.parametrize("kind", [SPAEN, SPAENPictures])
def test_classification_only_is_the_same_but_for_the_two_weights(kind):
    assert (kind.preset("cls-only").alpha, kind.preset("cls-only").beta) == (0.0, 0.0)
    for preset in ("paper", "authors", "table2", "figure7"):
        without = kind.preset(f"{preset}-cls-only").settings()
        assert without == kind.preset(preset).settings() | {"alpha": 0.0, "beta": 0.0}
    assert kind.preset("table2-cls-only") == kind.preset("figure7-cls-only") == kind.preset("authors-cls-only")


def test_weights_of_the_captions_are_shares_of_the_classification_loss():
    shares = {name: SPAEN.preset(name).beta / SPAEN.preset(name).classification_weight for name in BETAS}
    assert shares == {"table2": 0.005, "figure7": 0.05}
