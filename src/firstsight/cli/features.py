"""`firstsight features`: compute the features of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from firstsight.cli.options import as_json, resumable
from firstsight.errors import InputError


def features(
    folder: Path,
    /,
    backbone: str = "resnet50",
    crops: Literal[1, 10] = 1,
    keep: bool = False,
    out: Path | None = None,
    batch: int | None = None,
    device: str = "auto",
    precision: Literal["float32", "bf16"] = "float32",
    skip_bad: bool = False,
    json: bool = False,
) -> None:
    """Compute features of the pictures in a folder, FOLDER/images/CLASS/NAME.jpg.

    If it is stopped or killed, the same command continues. Features that are in OUT already, from the same backbone and
    crops, are not computed again.

    Args:
        folder: data set with a folder `images`, in which each class has a folder of its pictures.
        backbone: `resnet50`, `torchvision:NAME`, `timm:NAME`, `openclip:MODEL/WEIGHTS`; or `random:` and one of these,
            for random weights.
        crops: 1, the middle of each picture; or 10, corners, middle and their mirror images, averaged.
        keep: with --crops 10, keep the features of each crop beside those of the whole, both of the central square of
            the picture. SP-AEN then learns from the crops, as in the paper; other methods use the whole.
        out: the feature file; by default FOLDER/features.safetensors.
        batch: crops in one pass of the network; halved if memory runs out.
        device: torch device to work on; `auto` takes a GPU if there is one.
        precision: bf16 is faster on devices that support it, with slightly different features.
        skip_bad: leave out pictures that cannot be read, and list them; without it, the first one is an error.
        json: print one JSON document.
    """
    from firstsight.features.extract import extract, pictures_of
    from firstsight.features.load import load_backbone
    from firstsight.progress import Display

    if keep and crops != 10:
        raise InputError(f"crops must be 10 where they are kept; got {crops}")
    pictures_of(folder)  # refuse a folder without pictures before weights are loaded
    out = out or folder / "features.safetensors"
    network = load_backbone(backbone, device, precision, batch)
    asked = network.batch
    with Display() as display:
        with resumable(out, display):
            done = extract(folder, network, out, "kept" if keep else crops, skip_bad, display.stage("features"))
        if network.batch < asked:
            display.say(f"memory was too small for {asked} crops at once; {network.batch} were taken")
        for sentence in done.skipped.values():
            display.say(f"skipped: {sentence}")
    if json:
        answer = {"out": str(out), "pictures": len(done.files), "computed": done.computed, "width": network.width}
        print(as_json({**answer, "backbone": network.name, "batch": network.batch, "skipped": done.skipped}))
        return
    known = len(done.files) - done.computed
    again = f", {known} of them known before" if known else ""
    left_out = f"; {len(done.skipped)} were left out" if done.skipped else ""
    each = "each, and of ten crops of each," if keep else "each"
    print(
        f"{len(done.files)} pictures{again}, {network.width} features {each} by {network.name}, are in {out}{left_out}"
    )
