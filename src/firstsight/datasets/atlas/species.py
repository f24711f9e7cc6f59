"""The species of the atlas: their traits, their names, and how much the traits vary among seen and unseen species.

Every trait group has one usual value. With `semantic_loss` 0, the values of a group are equally frequent among seen and
among unseen classes. As it grows, half of the groups (chosen by the seed) concentrate on their usual value among unseen
classes, and the other half among seen classes. Then the traits that separate unseen classes hardly vary in training, so
a model trained on seen classes has little reason to keep them. This is the semantic loss that Table 1 of SP-AEN
measures in real data. Values are assigned by quotas, not drawn one by one, so that the setting and not chance
determines the variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from firstsight.data import ClassEmbeddings

TRAITS: dict[str, tuple[str, ...]] = {
    "crown_color": ("red", "yellow", "black", "white", "blue"),
    "crest": ("none", "short", "tall"),
    "face_pattern": ("plain", "masked", "ringed", "cheeked"),
    "bill_shape": ("cone", "needle", "hooked", "curved"),
    "bill_color": ("black", "yellow", "red"),
    "back_color": ("olive", "slate", "brown", "black", "green"),
    "breast_color": ("yellow", "white", "orange", "rose", "grey"),
    "breast_pattern": ("plain", "streaked", "spotted", "banded"),
    "wing_color": ("black", "brown", "blue", "rust"),
    "wing_pattern": ("plain", "spotted", "barred", "patched"),
    "tail_shape": ("square", "fan", "forked", "streamer"),
    "leg_length": ("short", "medium", "long"),
    "leg_color": ("grey", "yellow", "red"),
    "size": ("small", "medium", "large"),
    "body_shape": ("slender", "round"),
}
ATTRIBUTES = tuple(f"has_{group}::{value}" for group, values in TRAITS.items() for value in values)
MOST_VALUES = max(map(len, TRAITS.values()))  # fewer seen classes than this could not show every value

_GRADED = ("crest", "leg_length", "size")  # groups whose neighbouring values are easily confused
_MOST_CROWDED = 0.86  # share of classes moved to the usual value at semantic_loss 1; gives a cosine near .5
_DEALS = 20  # random tables; the one whose two most similar classes differ most is kept

_FEATURE_NAMES = {  # parts of field-guide names by trait group: (nouns, adjectives of each value)
    "crown_color": (
        ("crowned", "capped"),
        {
            "red": ("Ember", "Scarlet", "Ruby"),
            "yellow": ("Saffron", "Gold", "Citrine"),
            "black": ("Soot", "Ink", "Jet"),
            "white": ("Frost", "Chalk", "Snow"),
            "blue": ("Azure", "Cobalt", "Dusk"),
        },
    ),
    "breast_color": (
        ("breasted", "throated"),
        {
            "yellow": ("Primrose", "Lemon", "Honey"),
            "white": ("Pearl", "Ivory", "Milk"),
            "orange": ("Amber", "Apricot", "Marigold"),
            "rose": ("Rose", "Blush", "Peony"),
            "grey": ("Ash", "Smoke", "Pewter"),
        },
    ),
    "wing_color": (
        ("winged",),
        {
            "black": ("Raven", "Coal", "Midnight"),
            "brown": ("Umber", "Walnut", "Hazel"),
            "blue": ("Lapis", "Sapphire", "Indigo"),
            "rust": ("Rust", "Copper", "Cinnamon"),
        },
    ),
    "back_color": (
        ("backed", "mantled"),
        {
            "olive": ("Olive", "Lichen", "Sage"),
            "slate": ("Slate", "Flint", "Rain"),
            "brown": ("Acorn", "Peat", "Bark"),
            "black": ("Onyx", "Tar", "Basalt"),
            "green": ("Fern", "Jade", "Moss"),
        },
    ),
}
_PLACES = (
    "Thicket", "Fen", "Willow", "Heath", "Bramble", "Glade", "Brook", "Dune", "Orchard",
    "Marsh", "Hollow", "Moor", "Alder", "Meadow", "Cove", "Juniper",
)  # fmt: skip
_KINDS = {
    "cone": ("finch", "bunting", "seedeater"),
    "needle": ("wren", "warbler", "creeper"),
    "hooked": ("shrike", "hookbill", "vireo"),
    "curved": ("sickle", "thrasher", "curlew"),
}


@dataclass(frozen=True)
class Species:
    """One class of the atlas."""

    name: str  # its field-guide name
    traits: dict[str, str]  # the value it takes in every group of `TRAITS`
    is_unseen: bool  # it has no training pictures


def make_species(n_classes: int, n_unseen: int, semantic_loss: float, seed: int) -> list[Species]:
    """Make all classes, sorted by name; no two share all traits, and some seen class shows every trait value."""
    rng = np.random.default_rng([seed, 0])
    deals = [_deal_traits(n_classes - n_unseen, n_unseen, semantic_loss, rng) for _ in range(_DEALS)]
    table = max(deals, key=_smallest_difference)  # [c, groups] value numbers, seen classes first
    taken: set[str] = set()
    species = []
    for row, numbers in enumerate(table):
        traits = {group: values[number] for (group, values), number in zip(TRAITS.items(), numbers, strict=True)}
        species.append(Species(_invent_name(traits, taken, rng), traits, is_unseen=row >= n_classes - n_unseen))
    return sorted(species, key=lambda one: one.name)


def embed(species: list[Species], seed: int) -> ClassEmbeddings:
    """Make graded attributes [c, a] of the species, rows of unit length.

    As in CUB, an entry is the share of observers who would tick the attribute: most see the true value of a group, the
    others are spread over its other values (for a graded group, over the neighbouring values).
    """
    rng = np.random.default_rng([seed, 1])
    vectors = np.zeros((len(species), len(ATTRIBUTES)))  # [c, a]
    for row, one in enumerate(species):
        blocks = []
        for group, values in TRAITS.items():
            true = values.index(one.traits[group])
            doubt = rng.dirichlet(np.full(len(values), 0.7))  # [values of the group]
            if group in _GRADED:
                doubt[np.abs(np.arange(len(values)) - true) > 1] = 0
            doubt[true] = 0
            block = rng.uniform(0.05, 0.2) * doubt / max(doubt.sum(), 1e-9)
            block[true] = 1 - block.sum()
            blocks.append(block)
        vectors[row] = np.concatenate(blocks)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return ClassEmbeddings(tuple(one.name for one in species), vectors, ATTRIBUTES)


def _deal_traits(n_seen: int, n_unseen: int, semantic_loss: float, rng: np.random.Generator) -> np.ndarray:
    """Assign trait values: [c, groups] value number of every class in every group, seen classes first."""
    sizes = np.array([len(values) for values in TRAITS.values()])
    # Groups sorted by size go to the two halves alternately, so that neither half has all the colours.
    by_size = np.lexsort((rng.random(len(sizes)), sizes))
    varies_in_seen = np.empty(len(sizes), dtype=bool)
    varies_in_seen[by_size] = (np.arange(len(sizes)) + rng.integers(2)) % 2 == 0
    table = np.empty((n_seen + n_unseen, len(sizes)), dtype=np.int64)
    for group, size in enumerate(sizes):
        usual = rng.integers(size)
        # With the cube root, the cosine of the variances falls about linearly.
        crowding = _MOST_CROWDED * np.cbrt(semantic_loss) * np.array([not varies_in_seen[group], varies_in_seen[group]])
        seen = _quotas(n_seen, size, usual, crowding[0], rng)
        while (seen == 0).any():  # every value must occur in a seen class, or nothing could be learned about it
            seen[seen.argmax()] -= 1
            seen[seen.argmin()] += 1
        unseen = _quotas(n_unseen, size, usual, crowding[1], rng)
        table[:n_seen, group] = rng.permutation(np.repeat(np.arange(size), seen))
        table[n_seen:, group] = rng.permutation(np.repeat(np.arange(size), unseen))
    return table


def _quotas(n: int, size: int, usual: int, crowding: float, rng: np.random.Generator) -> np.ndarray:
    """Return how many of n classes take each value [size]; the usual one gets an equal share and `crowding` of the
    rest.
    """
    shares = np.full(size, (1 - crowding) / size)
    shares[usual] += crowding
    order = rng.permutation(size)
    # A random offset before rounding down makes every quota correct on average.
    edges = np.floor(np.concatenate([[0], shares[order].cumsum()]) * n + rng.random())
    edges[0], edges[-1] = 0, n
    quotas = np.empty(size, dtype=np.int64)
    quotas[order] = np.diff(edges)
    return quotas


def _smallest_difference(table: np.ndarray) -> int:
    """Return the number of groups in which the two most similar classes differ."""
    differences = (table[:, None] != table[None]).sum(axis=2) + len(table[0]) * np.eye(len(table), dtype=np.int64)
    return int(differences.min())


def _invent_name(traits: dict[str, str], taken: set[str], rng: np.random.Generator) -> str:
    """Invent a name that fits the traits and is not taken, and add it to `taken`."""
    while True:
        group = rng.choice(list(_FEATURE_NAMES))
        parts, adjectives = _FEATURE_NAMES[group]
        name = f"{rng.choice(adjectives[traits[group]])}-{rng.choice(parts)} "
        name += f"{rng.choice(_PLACES)}{rng.choice(_KINDS[traits['bill_shape']])}"
        first = name.split()[0]
        if name not in taken and (first not in taken or rng.random() < 0.05):
            taken.update((name, first))
            return name
