import numpy as np
import pytest
import torch

from firstsight.datasets import atlas as package
from firstsight.datasets.atlas import atlas
from firstsight.datasets.atlas.drawing import draw_bird
from firstsight.datasets.atlas.species import ATTRIBUTES, TRAITS, embed, make_species
from firstsight.errors import InputError
from firstsight.features import compact as features

SMALL = {"n_classes": 12, "n_unseen": 3, "pictures_per_class": 5, "size": 32}
PLAIN = {group: values[0] for group, values in TRAITS.items()}


@pytest.fixture(autouse=True)
def quick_and_private(monkeypatch, tmp_path):
    """Two epochs on one thread, and a cache of one's own."""
    monkeypatch.setattr(features, "N_EPOCHS", 2)
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "cache"))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads cost more than they save on pictures this small
    yield tmp_path / "cache"
    torch.set_num_threads(n_threads)


def variance_cosine(semantic_loss, seed):
    """Table 1 of SP-AEN, on classes instead of images: every class has equally many."""
    species = make_species(40, 10, semantic_loss, seed)
    vectors = embed(species, seed).vectors
    is_unseen = np.array([one.is_unseen for one in species])
    seen, unseen = vectors[~is_unseen].var(axis=0), vectors[is_unseen].var(axis=0)
    return seen @ unseen / np.linalg.norm(seen) / np.linalg.norm(unseen)


def test_dial_lowers_the_cosine_of_variances():
    means = [np.mean([variance_cosine(loss, seed) for seed in range(5)]) for loss in (0, 0.25, 0.5, 0.75, 1)]
    assert (np.diff(means) < -0.04).all()
    assert means[0] > 0.97
    assert means[-1] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("semantic_loss", [0, 0.6, 1])
@pytest.mark.parametrize(("n_classes", "n_unseen"), [(7, 1), (12, 6), (40, 10), (150, 50)])
def test_every_value_of_an_unseen_class_occurs_in_a_seen_one(n_classes, n_unseen, semantic_loss):
    for seed in range(3):
        species = make_species(n_classes, n_unseen, semantic_loss, seed)
        assert sum(one.is_unseen for one in species) == n_unseen
        shown = {item for one in species if not one.is_unseen for item in one.traits.items()}
        needed = {item for one in species if one.is_unseen for item in one.traits.items()}
        assert needed <= shown


def test_species_differ_in_name_and_traits():
    species = make_species(150, 50, 1.0, 0)
    assert len({one.name for one in species}) == 150
    assert len({tuple(one.traits.values()) for one in species}) == 150


def test_embeddings_are_named_unit_rows_that_peak_at_the_traits():
    species = make_species(20, 5, 0.5, 0)
    classes = embed(species, 0)
    assert classes.attributes == ATTRIBUTES
    assert len(set(ATTRIBUTES)) >= 40
    np.testing.assert_allclose(np.linalg.norm(classes.vectors, axis=1), 1)
    for one, vector in zip(species, classes.vectors, strict=True):
        strengths = dict(zip(ATTRIBUTES, vector, strict=True))
        for group, values in TRAITS.items():
            assert max(values, key=lambda value, group=group: strengths[f"has_{group}::{value}"]) == one.traits[group]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_trait_changes_the_drawing(attribute):
    group, value = attribute.removeprefix("has_").split("::")
    drawn = draw_bird(PLAIN | {group: value}, 48, np.random.default_rng(1)).astype(int)
    for other in TRAITS[group]:
        if other != value:
            changed = draw_bird(PLAIN | {group: other}, 48, np.random.default_rng(1))
            assert (np.abs(drawn - changed).max(axis=2) > 20).sum() >= 4, f"{value} looks like {other}"


@pytest.mark.parametrize("size", [16, 33, 128, 256])
def test_pictures_of_any_size(size):
    picture = draw_bird(PLAIN, size, np.random.default_rng(0))
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_splits_and_shapes():
    data = atlas(**SMALL)
    assert data.name == "atlas"
    assert (len(data.classes), len(data.seen), len(data.unseen)) == (12, 9, 3)
    assert (len(data.trainval), len(data.test_seen), len(data.test_unseen)) == (9 * 4, 9, 3 * 5)
    assert set(np.bincount(data.labels[data.trainval])[data.seen]) == {4}
    assert np.asarray(data.pictures).shape == (60, 32, 32, 3)
    assert data.reconstruction_features.shape == (60, 768)
    assert data.reconstruction_features.min() >= 0
    assert data.reconstruction_features.max() <= 1
    (held_out,) = data.validation_classes
    assert len(held_out) == 3
    assert set(held_out) <= {data.classes.names[row] for row in data.seen}
    validation = data.validation_set(0)
    assert {validation.classes.names[row] for row in validation.unseen} == set(held_out)
    assert atlas(**SMALL, semantic_loss=0.5).name == "atlas 0.5"


def test_same_seed_same_data(monkeypatch, tmp_path):
    first = atlas(**SMALL)
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "another"))
    again, other = atlas(**SMALL), atlas(**SMALL, seed=1)
    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.features, again.features)
    assert first.classes.names == again.classes.names != other.classes.names
    assert (np.asarray(first.pictures) != np.asarray(other.pictures)).mean() > 0.5


def test_features_learn_from_training_pictures_outside_validation_only(monkeypatch):
    asked = []

    def spy(pictures, train, labels, *rest):
        asked.append((train, labels))
        return np.zeros((len(pictures), 2), dtype=np.float32)

    monkeypatch.setattr(package, "compact_features", spy)
    data = atlas(**SMALL)
    ((train, labels),) = asked
    held_out = [data.classes.names.index(name) for name in data.validation_classes[0]]
    assert set(train) == set(data.trainval[~np.isin(data.labels[data.trainval], held_out)])
    np.testing.assert_array_equal(labels, data.labels)


def test_a_second_call_reads_the_cache(monkeypatch, quick_and_private):
    first = atlas(**SMALL)
    (file,) = quick_and_private.iterdir()
    assert file.suffix == ".safetensors"
    monkeypatch.setattr(package, "compact_features", None)  # a call would fail
    second = atlas(**SMALL)
    np.testing.assert_array_equal(first.pictures, second.pictures)
    np.testing.assert_array_equal(first.features, second.features)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_an_unreadable_cache_file_is_rebuilt(quick_and_private, content):
    first = atlas(**SMALL)
    (file,) = quick_and_private.iterdir()
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    np.testing.assert_array_equal(first.features, atlas(**SMALL).features)
    assert [path.name for path in quick_and_private.iterdir()] == [file.name]


def test_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("FIRSTSIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    atlas(**SMALL)
    assert len(list((tmp_path / "xdg" / "firstsight").iterdir())) == 1


def test_a_cache_that_is_no_folder_gets_its_sentence(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="FIRSTSIGHT_CACHE must name a folder that can be made; got"):
        atlas(**SMALL)


def test_progress_is_told_of_both_stages():
    calls = []
    atlas(**SMALL, progress=lambda *call: calls.append(call))
    assert calls[0][:3] == ("pictures", 5, 60)
    assert ("pictures", 60, 60, {}) in calls
    assert calls[-1][:3] == ("features", 2, 2)
    assert calls[-1][3]["loss"] > 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": 15}, "size must be 16 to 256; got 15"),
        ({"size": 64.0}, "size must be a whole number; got 64.0"),
        ({"n_classes": 401}, "n_classes must be 7 to 400; got 401"),
        ({"n_unseen": 0}, "n_unseen must be 1 to 400; got 0"),
        ({"n_unseen": 7}, "n_unseen must leave 6 seen classes or more; got 7 of 12 classes"),
        ({"pictures_per_class": 4}, "pictures_per_class must be 5 to 2000; got 4"),
        ({"semantic_loss": 1.5}, "semantic_loss must be 0 to 1; got 1.5"),
        ({"semantic_loss": float("nan")}, "semantic_loss must be 0 to 1; got nan"),
        ({"semantic_loss": "high"}, "semantic_loss must be a number; got 'high'"),
        ({"seed": -1}, "seed must be 0 to 4294967295; got -1"),
    ],
)
def test_bad_settings_get_their_sentence(wrong, sentence):
    with pytest.raises(InputError) as caught:
        atlas(**SMALL | wrong)
    assert str(caught.value) == sentence
