"""Old name of `firstsight.features.load`."""

from firstsight.features.load import load_backbone as load_backbone
