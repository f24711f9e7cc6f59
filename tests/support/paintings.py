"""A folder of tiny pictures whose classes are colours, and settings with which SP-AEN on pictures learns at once."""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 220), "dark_grey": (70, 70, 70)}
UNSEEN = ("dark_grey", "pink")
TINY = (
    *("--side", "32", "--width", "0.015625", "--pretrained", "none", "--hidden", "4", "--device", "cpu"),
    *("--batch", "8", "--autoencoder-batch", "8", "--epochs", "2", "--autoencoder-epochs", "2", "--critic-steps", "1"),
)


def paint(path: Path, colour: tuple[int, int, int], seed: int) -> None:
    """A picture of this colour, with some noise."""
    noise = np.random.default_rng(seed).integers(-30, 31, (40, 48, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(path)


def painted(folder: Path, per_class: int = 6, with_features: bool = True) -> Path:
    """The folder: images, classes.csv with a class that has no pictures, and features.safetensors."""
    table = ["class,split,redness,greenness,blueness"]
    files = []
    for at, (name, colour) in enumerate({**COLOURS, "pink": (250, 150, 180)}.items()):
        split = "unseen" if name in UNSEEN else "seen"
        table.append(f"{name},{split},{','.join(str(value / 255) for value in colour)}")
        for number in range(per_class if name in COLOURS else 0):
            files.append(f"images/{name}/{number}.png")
            paint(folder / files[-1], colour, 100 * at + number)
    (folder / "classes.csv").write_text("\n".join(table) + "\n")
    if with_features:
        rows = np.random.default_rng(0).normal(size=(len(files), 5)).astype(np.float32)
        save_file({"features": rows}, folder / "features.safetensors", {"files": str(files).replace("'", '"')})
    return folder
