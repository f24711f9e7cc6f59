"""Scaling of features and of class embeddings."""

import torch
from torch import nn

from firstsight.methods.scaling import scale_classes, scale_features


def test_scaling_of_features():
    torch.manual_seed(0)
    features = torch.randn(50, 5) * torch.tensor([1.0, 2, 3, 4, 0]) + 1
    deviation, mean = torch.std_mean(features, dim=0, correction=0)

    def scaled(kind):
        return scale_features(kind, features.clone(), (2, 3), mean, deviation)

    assert torch.equal(scaled("none"), features)
    standard = scaled("standard")
    assert torch.allclose(standard.mean(dim=0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(standard.std(dim=0, correction=0), torch.tensor([1.0, 1, 1, 1, 0]), atol=1e-5)
    for kind in ("l2", "standard-l2"):
        for part in scaled(kind).split((2, 3), dim=1):
            assert torch.allclose(part.norm(dim=1), torch.ones(50), atol=1e-5)
    assert torch.allclose(scaled("standard-l2")[:, :2], nn.functional.normalize(standard[:, :2]), atol=1e-6)


def test_scaling_of_classes():
    vectors = torch.randn(6, 4) + 2
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    mean = unit[:4].mean(dim=0)
    assert torch.equal(scale_classes("none", vectors, mean), vectors)
    assert torch.allclose(scale_classes("l2", vectors, mean), unit)
    centred = scale_classes("centred", vectors, mean)
    assert torch.allclose(centred, (unit - mean) / (unit - mean).norm(dim=1, keepdim=True), atol=1e-6)
