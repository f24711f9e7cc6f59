"""The ten crops of a picture: four corners and the middle, then the mirror images of these five (paper, section 5.2).

This is the one place that says where they lie and in which order they come, for pictures and for features of them.
"""

from __future__ import annotations

N_CROPS = 10
HALVES = ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))  # of what a crop leaves out, those above it and to its left


def corners(height: int, width: int, side: int) -> list[tuple[int, int]]:
    """Return the pixels above and to the left of five crops of a picture [height, width].

    They are top left, top right, bottom left, bottom right and middle. Crops 5 to 9 are these mirrored.
    """
    return [(round((height - side) * down / 2), round((width - side) * across / 2)) for down, across in HALVES]
