"""Old name of `pretrained`, which the documentation of version 0.1 showed."""

from firstsight.methods.spaen_pictures.pretrained import SHAPES, alexnet_weights, published_generator

__all__ = ["SHAPES", "alexnet_weights", "published_generator"]
