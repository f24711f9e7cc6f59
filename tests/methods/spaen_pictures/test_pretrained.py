"""Weights that SP-AEN on pictures starts from: files are what their names promise, the generator the published one."""

import hashlib
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import AlexNet_Weights

from firstsight.errors import InputError
from firstsight.features.weights import check_sha256
from firstsight.methods.spaen_pictures import SPAENPictures, pretrained
from firstsight.methods.spaen_pictures.networks import GENERATOR_SLOPE, alexnet_convolutions
from firstsight.methods.spaen_pictures.pretrained import SHAPES, alexnet_weights, published_generator
from firstsight.methods.spaen_pictures.steps import Material
from tests.support.trainings import picture_material, spaen_pictures

STATE = {"features.0.weight": torch.arange(6.0).reshape(2, 3), "features.0.bias": torch.tensor([1.5, -2.0])}


def says(sentence, function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert str(caught.value) == sentence


# AlexNet


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The empty cache of torch's hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "home" / "hub" / "checkpoints"


@pytest.fixture
def content(tmp_path):
    """A small file of weights as torch writes it."""
    torch.save(STATE, tmp_path / "made.pth")
    return (tmp_path / "made.pth").read_bytes()


def named_for(content: bytes) -> str:
    return f"alexnet-owt-{hashlib.sha256(content).hexdigest()[:8]}.pth"


@pytest.fixture
def served(monkeypatch):
    """Serve bytes as if they were torchvision's AlexNet; fewer than promised where `cut`."""
    servers = []

    def serve(content: bytes, name: str, cut: int | None = None, status: int = 200) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:cut])

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/models/{name}"
        monkeypatch.setattr(AlexNet_Weights.IMAGENET1K_V1.value, "url", url)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def is_state(found) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_weights_are_fetched_once(folder, content, served, monkeypatch):
    served(content, named_for(content))
    assert is_state(alexnet_weights())
    assert (folder / named_for(content)).read_bytes() == content
    monkeypatch.setattr("torch.hub.download_url_to_file", None)
    assert is_state(alexnet_weights())


def test_a_download_that_ends_early(folder, content, served):
    name, half = named_for(content), len(content) // 2
    served(content, name, cut=half)
    found = hashlib.sha256(content[:half]).hexdigest()
    says(
        f"weights of torchvision:alexnet must be in {folder} or within reach of the network; "
        f'got invalid hash value (expected "{name[12:20]}", got "{found}"); put {name} there',
        alexnet_weights,
    )
    assert not list(folder.iterdir())


def test_a_server_without_them(folder, content, served):
    served(content, named_for(content), status=404)
    says(
        f"weights of torchvision:alexnet must be in {folder} or within reach of the network; "
        f"got HTTP Error 404: Not Found; put {named_for(content)} there",
        alexnet_weights,
    )


def test_a_damaged_file_in_the_cache(folder, content, served):
    name = named_for(content)
    served(content, name)
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content[:-1])
    found = hashlib.sha256(content[:-1]).hexdigest()[:8]
    sentence = (
        f"weights of torchvision:alexnet must have a sha256 that begins with {name[12:20]}; got {found} "
        f"from {folder / name}, which is damaged; delete it and run again"
    )
    says(sentence, alexnet_weights)
    assert (folder / name).exists()  # for the user to look at
    (folder / name).unlink()
    assert is_state(alexnet_weights())


def test_no_code_is_run_from_a_file(folder, tmp_path, served):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemError('ran')",))

    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    content = (tmp_path / "evil.pth").read_bytes()
    served(content, named_for(content))
    with pytest.raises(InputError, match=r"^weights of torchvision:alexnet must .*Weights only load failed"):
        alexnet_weights()


def test_names_that_promise_nothing(tmp_path):
    for name in ("made.pth", "resnet-v2.pth", "net-abc.pth", "net-ABCDEF12.pth"):
        (tmp_path / name).write_bytes(b"anything")
        check_sha256("x", tmp_path / name)
    check_sha256("x", tmp_path / "missing-01234567.pth")
    whole = tmp_path / f"net-{hashlib.sha256(b'anything').hexdigest()}.pth"
    whole.write_bytes(b"anything")
    check_sha256("x", whole)


# the generator

TINY = {  # the shape of the published one, a few numbers wide: 2 channels of 2 x 2 before the first up-convolution
    "defc7": (8, 5),
    "defc6": (8, 8),
    "defc5": (8, 8),
    "deconv5": (2, 3, 4, 4),
    "conv5_1": (4, 3, 3, 3),
    "deconv4": (4, 3, 4, 4),
    "conv4_1": (3, 3, 3, 3),
    "deconv3": (3, 2, 4, 4),
    "conv3_1": (2, 2, 3, 3),
    "deconv2": (2, 2, 4, 4),
    "deconv1": (2, 2, 4, 4),
    "deconv0": (2, 3, 4, 4),
}


def published_layers(shapes) -> dict[str, list]:
    """[kind, weights, biases] by name, with the axes that Caffe has: [out, in] or [in, out, k, k]."""
    rng = np.random.default_rng(0)
    layers = {}
    for name, (rows, columns, *sides) in shapes.items():
        kind = "InnerProduct" if name.startswith("defc") else "Deconvolution"
        axes = (columns, rows) if name.startswith("conv") else (rows, columns)
        n_out = axes[0] if kind == "InnerProduct" else axes[1]
        weight = rng.normal(size=(*axes, *sides)) / np.sqrt(rows) * (60 if name == "deconv0" else 1)
        layers[name] = [kind, weight.astype(np.float32), rng.normal(size=n_out).astype(np.float32)]
    return layers


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Write layers to a file, in a world where the published generator is tiny."""
    pytest.importorskip("google.protobuf", reason="needs the extra caffe")
    from firstsight.methods.spaen_pictures.caffe import net_message

    monkeypatch.setattr(pretrained, "SHAPES", TINY)

    def write(layers, n_axes=0):
        net = net_message()()
        for name, (kind, *arrays) in layers.items():
            layer = net.layer.add(name=name.encode(), type=kind.encode())
            for array in arrays:
                shape = (1,) * (n_axes - array.ndim) + array.shape
                layer.blobs.add(data=array.ravel()).shape.dim.extend(shape)
        path = tmp_path / "generator.caffemodel"
        path.write_bytes(net.SerializeToString())
        return path

    return write


def network(shapes) -> nn.Sequential:
    """As the table says it is to be built."""
    stages = nn.Sequential()
    for name, (rows, columns, *_) in shapes.items():
        if name.startswith("defc"):
            stages.add_module(name, nn.Linear(columns, rows))
        elif name.startswith("deconv"):
            stages.add_module(name, nn.ConvTranspose2d(rows, columns, 4, stride=2, padding=1))
        else:
            stages.add_module(name, nn.Conv2d(columns, rows, 3, padding=1))
        if name != "deconv0":
            stages.add_module(f"{name}_relu", nn.LeakyReLU(GENERATOR_SLOPE))
        if name == "defc5":
            channels = shapes["deconv5"][0]
            side = round((rows / channels) ** 0.5)
            stages.add_module("reshape", nn.Unflatten(1, (channels, side, side)))
    return stages


def deconvolution(x, weight, bias, stride):
    """Caffe's, from its definition: every number adds its kernel to what comes out."""
    n_in, n_out, side, _ = weight.shape
    wide = (x.shape[1] - 1) * stride + side
    out = np.zeros((n_out, wide, wide))
    for channel in range(n_in):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                at = slice(i * stride, i * stride + side), slice(j * stride, j * stride + side)
                out[:, at[0], at[1]] += x[channel, i, j] * weight[channel]
    return out[:, 1:-1, 1:-1] + bias[:, None, None]  # padding 1


def as_in_caffe(layers, x):
    """[3, h, w] blue, green, red minus the mean, from x [d]."""
    for name, (kind, weight, bias) in layers.items():
        if kind == "InnerProduct":
            x = weight @ x + bias
        else:
            x = x.reshape(2, 2, 2) if name == "deconv5" else x
            x = deconvolution(x, weight, bias, 2 if name.startswith("deconv") else 1)
        x = x if name == "deconv0" else np.where(x > 0, x, 0.3 * x)
    return x


def test_pictures_are_those_of_caffe_in_red_green_blue(file):
    layers = published_layers(TINY)
    made = network(TINY)
    made.load_state_dict(published_generator(file(layers)))
    x = np.random.default_rng(1).normal(size=5)
    blue, green, red = as_in_caffe(layers, x)
    expected = np.stack([(red + 123) / 255, (green + 117) / 255, (blue + 104) / 255])
    found = made(torch.from_numpy(x).float()[None])[0].detach().numpy()
    assert found.shape == (3, 128, 128)
    assert expected.std() > 0.05
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_published_sizes_make_pictures_of_256():
    with torch.device("meta"):
        made = network(SHAPES)
        assert made(torch.zeros(2, 4096)).shape == (2, 3, 256, 256)
    assert {name: tuple(stage.weight.shape) for name, stage in made.named_children() if name in SHAPES} == SHAPES


def test_convolutions_may_be_convolutions(file):
    layers = published_layers(TINY)
    expected = published_generator(file(layers))
    for name in ("conv5_1", "conv4_1", "conv3_1"):
        layers[name] = ["Convolution", expected[f"{name}.weight"].numpy(), layers[name][2]]
    for name, found in published_generator(file(layers)).items():
        assert torch.equal(found, expected[name]), name


def test_other_layers_and_axes_of_one_are_passed_over(file):
    layers = published_layers(TINY)
    expected = published_generator(file(layers))
    layers["more"] = ["Scale", np.ones(3, dtype=np.float32)]
    for name, found in published_generator(file(layers, n_axes=4)).items():
        assert torch.equal(found, expected[name]), name


def test_a_file_of_another_network(file):
    layers = published_layers(TINY)
    path = file({name: layers[name] for name in ("defc7", "deconv1")})
    says(
        f"generator {path} must have the layers of the published fc6 generator; got none named defc6, defc5, deconv5, "
        "conv5_1, deconv4, conv4_1, deconv3, conv3_1, deconv2, deconv0, but deconv1, defc7",
        published_generator,
        path,
    )


def replaced(kind=None, weight=None, bias=None):
    """A change of a layer: only what is given."""

    def change(layer):
        old_kind, old_weight, old_bias = layer
        return [kind or old_kind, weight(old_weight) if weight else old_weight, bias(old_bias) if bias else old_bias]

    return change


WRONG = [
    ("defc7", replaced(weight=lambda w: w.T), "must have shapes (8, 5) and (8,); got (5, 8) and (8,)"),
    (
        "conv5_1",
        replaced(weight=lambda w: w[:, :3]),
        "must have shapes (3, 4, 3, 3) and (4,); got (3, 3, 3, 3) and (4,)",
    ),
    (
        "deconv0",
        replaced(bias=lambda b: b[:2]),
        "must have shapes (2, 3, 4, 4) and (3,); got (2, 3, 4, 4) and (2,)",
    ),
    ("deconv1", lambda layer: layer[:2], "must have shapes (2, 2, 4, 4) and (2,); got (2, 2, 4, 4)"),
    ("deconv1", replaced("Convolution"), "must be Deconvolution; got Convolution"),
    ("conv3_1", replaced("InnerProduct"), "must be Deconvolution or Convolution; got InnerProduct"),
    ("defc5", replaced(weight=lambda w: w * np.nan), "must have finite weights; got NaN or inf"),
    ("defc5", replaced(bias=lambda b: b * np.inf), "must have finite weights; got NaN or inf"),
]


@pytest.mark.parametrize(("name", "change", "sentence"), WRONG)
def test_a_layer_that_is_wrong(file, name, change, sentence):
    layers = published_layers(TINY)
    layers[name] = change(layers[name])
    path = file(layers)
    says(f"layer {name} of {path} {sentence}", published_generator, path)


# freezing


def loaded(settings: SPAENPictures, monkeypatch) -> Material:
    """Make the networks of settings, with an AlexNet that nobody has published: all biases are 0.25."""
    network = alexnet_convolutions(32, 1.0)
    weights = {f"features.{name}": value for name, value in network.state_dict().items()}
    for name in weights:
        if name.endswith("bias"):
            weights[name].fill_(0.25)
    monkeypatch.setattr(pretrained, "alexnet_weights", lambda: weights)
    networks = settings._networks(7, 0, 4)
    pretrained.start_from_published(settings, networks, None)
    plain = replace(settings, width=1 / 64, pretrained="none", freeze_encoder=False)
    return replace(picture_material(plain), settings=settings, networks=networks, phi=None)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_freezing_of_alexnet(is_frozen, monkeypatch):
    """Its convolutions have ImageNet's weights; at 32 pixels fc6 has nothing to keep, and learns with the rest."""
    settings = spaen_pictures(width=1.0, pretrained="imagenet", freeze_encoder=is_frozen, beta=0.0)
    material = loaded(settings, monkeypatch)
    before = {name: value.clone() for name, value in material.networks["encoder"].named_parameters()}
    of_alexnet = [value for name, value in before.items() if name.startswith("convolutions") and value.ndim == 1]
    assert len(of_alexnet) == 5
    assert all((value == 0.25).all() for value in of_alexnet)
    settings.way.steps(material).stages[0].step()
    for name, value in material.networks["encoder"].named_parameters():
        assert torch.equal(value, before[name]) == (is_frozen and name.startswith("convolutions")), name


def test_freezing_of_fc6_at_the_size_of_the_paper(monkeypatch):
    for is_frozen in (False, True):
        settings = spaen_pictures(side=256, width=1.0, pretrained="imagenet", freeze_encoder=is_frozen, alpha=0.0)
        with torch.device("meta"):
            networks = settings._networks(7, 0, 4)
        networks["encoder"].fc6.to_empty(device="cpu")
        networks["encoder"].convolutions.to_empty(device="cpu")
        weights = {f"features.{name}": value for name, value in alexnet_convolutions(256, 1.0).state_dict().items()}
        weights |= {"classifier.1.weight": torch.ones(4096, 9216), "classifier.1.bias": torch.ones(4096)}
        monkeypatch.setattr(pretrained, "alexnet_weights", lambda found=weights: found)
        pretrained.start_from_published(settings, networks, None)
        assert networks["encoder"].fc6.weight.requires_grad is not is_frozen
        assert (networks["encoder"].fc6.weight == 1).all()
        assert networks["encoder"].hidden.weight.requires_grad


@pytest.mark.parametrize("is_frozen", [False, True])
def test_freezing_of_the_published_generator(is_frozen, monkeypatch):
    """What the file has stays, unless it is to learn; the layers before it learn in any case."""
    monkeypatch.setattr(pretrained, "published_generator", lambda _: {"deconv0.weight": torch.full((1, 3, 4, 4), 0.01)})
    material = picture_material(spaen_pictures(side=32, alpha=1.0, beta=0.0, perceptual_weight=0.0))
    settings = material.settings
    object.__setattr__(settings, "generator_file", "x")  # which other sides refuse
    object.__setattr__(settings, "freeze_generator", is_frozen)
    pretrained.start_from_published(settings, material.networks, None)
    generator = material.networks["generator"]
    assert (generator.deconv0.weight == 0.01).all()
    settings.way.steps(material).stages[0].step()
    assert (generator.deconv0.weight == 0.01).all() == is_frozen
    assert generator.hidden.weight.requires_grad


def test_nothing_to_freeze():
    """Without ImageNet weights all of F learns."""
    material = picture_material(spaen_pictures(freeze_encoder=True, pretrained="none"))
    pretrained.start_from_published(material.settings, material.networks, None)
    assert all(value.requires_grad for value in material.networks["encoder"].parameters())
