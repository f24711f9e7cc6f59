"""Backbones of timm and OpenCLIP, where they are installed: names, preparation and missing weights."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image

from firstsight.errors import InputError
from firstsight.features.backbone import Backbone
from firstsight.features.load import load_backbone
from tests.support.tiny import tiny_clip


class Flat(torch.nn.Module):
    def forward(self, x):
        return x.flatten(1)


def noise(size) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def says(sentence, function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert str(caught.value) == sentence


def given_to(preparation, picture):
    return Backbone("flat", Flat(), preparation, torch.device("cpu")).features([picture])[0]


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache and no network."""
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.mark.parametrize("size", [(400, 300), (300, 410)])
@pytest.mark.parametrize("name", ["resnet18.tv_in1k", "vit_base_patch16_siglip_224.webli", "resnet50.a1_in1k"])
def test_pictures_are_prepared_as_timm_does(name, size):
    timm = pytest.importorskip("timm")
    from firstsight.features.timm import preparation

    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    picture = noise(size)
    expected = timm.data.create_transform(**config)(picture).flatten().numpy()
    found = given_to(preparation(config, name), picture)
    assert np.abs(found - expected).max() < 2.01 / 255 / min(config["std"])
    assert np.abs(found - expected).mean() < 2e-3


def test_a_network_of_timm():
    timm = pytest.importorskip("timm")
    backbone = load_backbone("random:timm:resnet10t", "cpu")
    assert (backbone.name, backbone.width) == ("random:timm:resnet10t", 512)
    network = timm.create_model("resnet10t", num_classes=0)
    network.load_state_dict(backbone.network.state_dict())
    picture = noise((300, 240))
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=network))
    with torch.inference_mode():
        expected = network.eval()(transform(picture)[None]).numpy()
    np.testing.assert_allclose(backbone.features([picture]), expected, atol=2e-2 * np.abs(expected).max())


def test_names_of_timm(offline):
    pytest.importorskip("timm")
    says("unknown backbone 'resnet5O'; did you mean 'resnet50'?", load_backbone, "timm:resnet5O", "cpu")
    says(
        "unknown backbone 'resnet50.a1_in2k'; did you mean 'resnet50.a1_in1k'?",
        load_backbone,
        "timm:resnet50.a1_in2k",
        "cpu",
    )
    with pytest.raises(InputError) as caught:
        load_backbone("timm:resnet18.tv_in1k", "cpu")
    message = str(caught.value)
    assert message.startswith(
        f"weights of timm:resnet18.tv_in1k must be in {offline} or within reach of the network; got "
    )
    assert message.endswith("; put the folder models--timm--resnet18.tv_in1k of a machine that has it there")


@pytest.mark.parametrize("size", [(400, 300), (300, 410)])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
def test_pictures_are_prepared_as_openclip_does(size, mode, tmp_path):
    open_clip = pytest.importorskip("open_clip")
    from firstsight.features import openclip

    name = tiny_clip(tmp_path)
    model = open_clip.create_model(name, None)
    model.visual.preprocess_cfg["resize_mode"] = mode
    cfg = model.visual.preprocess_cfg
    transform = open_clip.image_transform(
        cfg["size"], False, cfg["mean"], cfg["std"], resize_mode=mode, interpolation=cfg["interpolation"]
    )
    picture = noise(size)
    clip = openclip.Clip(name, model, open_clip.get_tokenizer(name))
    found = given_to(openclip.preparation(clip), picture)
    expected = transform(picture).flatten().numpy()
    assert np.abs(found - expected).max() < 2.01 / 255 / min(cfg["std"])
    assert np.abs(found - expected).mean() < 2e-3


def test_the_picture_tower_of_openclip(tmp_path):
    pytest.importorskip("open_clip")
    from firstsight.features.openclip import load_clip

    name = tiny_clip(tmp_path)
    backbone = load_backbone(f"random:openclip:{name}", "cpu")
    assert (backbone.name, backbone.width) == ("random:openclip:tiny-clip", 12)
    clip = load_clip(name, is_trained=False)
    prepared = torch.from_numpy(backbone.preparation.crops(noise((300, 240)), 1)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (backbone.preparation.mean, backbone.preparation.std))
    with torch.inference_mode():
        expected = clip.model.encode_image((prepared / 255 - mean) / std).numpy()
    np.testing.assert_allclose(backbone.features([noise((300, 240))]), expected, atol=1e-3 * np.abs(expected).max())


def test_names_of_openclip(offline):
    open_clip = pytest.importorskip("open_clip")
    says("unknown CLIP model 'ViT-B-33'; did you mean 'ViT-B-32'?", load_backbone, "openclip:ViT-B-33/openai", "cpu")
    tags = ", ".join(open_clip.list_pretrained_tags_by_model("RN50x64"))
    says(
        f"backbone openclip:RN50x64 must name its weights; got none; they are {tags}",
        load_backbone,
        "openclip:RN50x64",
        "cpu",
    )
    says(
        "unknown weights of ViT-B-32 'laion2b_s34b_b79'; did you mean 'laion2b_s34b_b79k'?",
        load_backbone,
        "openclip:ViT-B-32/laion2b_s34b_b79",
        "cpu",
    )
    with pytest.raises(InputError) as caught:
        load_backbone("openclip:ViT-B-32/laion2b_s34b_b79k", "cpu")
    message = str(caught.value)
    assert message.startswith(
        f"weights of openclip:ViT-B-32/laion2b_s34b_b79k must be in {offline} or within reach of the network; got "
    )
    assert message.endswith(
        "; put the folder models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K of a machine that has it there"
    )
