"""Tables of classes: one set of them in all places that read some, and what only some places ask."""

import json
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from firstsight.data import ClassEmbeddings, unit_rows
from firstsight.datasets import load
from firstsight.errors import InputError
from firstsight.methods import METHODS
from firstsight.recogniser.recogniser import Recogniser
from firstsight.semantics.class_table import read_class_table, read_classes_like, read_table
from tests.support.tables import ATTRIBUTES, NAMES, PLAIN, READ, REFUSED, VECTORS
from tests.support.tiny import FAST, tiny_dataset

LIKE = ClassEmbeddings(("owl", "auk"), np.eye(2), ("size", "beak"))


def says(sentence, work, *given):
    with pytest.raises(InputError) as caught:
        work(*given)
    assert str(caught.value) == sentence


def table(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "more.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def pictures_beside(path, *names):
    """The folder of a `classes.csv`, with pictures of these classes."""
    for name in names:
        for number in range(2):
            picture = path.parent / "images" / name / f"{number}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(b"x")
    return path.parent


# one set of tables, in all places


def known_by(method, where):
    """The recogniser of a tiny model that knows the attributes of the tables."""
    data = tiny_dataset(a=len(ATTRIBUTES), side=37)
    vectors = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    data = replace(data, classes=ClassEmbeddings(data.classes.names, vectors, ATTRIBUTES))
    fitted = METHODS[method](**FAST.get(method, {})).fit(data.training_set())
    return Recogniser.of(fitted, data, calibrate=False).save(where / f"{method}.safetensors")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What the commands need: a recogniser that predicts, features, and a recogniser that draws."""
    where = tmp_path_factory.mktemp("places")
    features = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    save_file({"features": features}, where / "x.safetensors")
    return SimpleNamespace(
        eszsl=known_by("eszsl", where), drawing=known_by("spaen-pictures", where), features=where / "x.safetensors"
    )


@pytest.mark.parametrize("name", READ)
def test_a_folder_reads_it(name, tmp_path):
    (tmp_path / "classes.csv").write_bytes(READ[name])
    classes = load(pictures_beside(tmp_path / "classes.csv", *NAMES)).classes
    assert classes.names == NAMES
    assert len(classes.attributes) == (5 if name == "other columns" else 4)  # one of them is a number
    columns = [[one.lower() for one in classes.attributes].index(attribute) for attribute in ATTRIBUTES]
    np.testing.assert_allclose(unit_rows(classes.vectors[:, columns]), unit_rows(np.array(VECTORS)), rtol=1e-12)


@pytest.mark.parametrize("name", READ)
def test_predict_reads_it(name, run, places, tmp_path):
    words = ("predict", places.eszsl, places.features, "--json", "--top", "99", "--classes")
    expected = run(*words, table(tmp_path, PLAIN))
    assert {answer["class"] for answer in json.loads(expected[1].splitlines()[0])["answers"]} >= set(NAMES)
    assert run(*words, table(tmp_path, READ[name])) == (0, expected[1], "")


@pytest.mark.parametrize("name", READ)
def test_imagine_reads_it(name, run, places, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "firstsight.pictures.sheet.grid", lambda file, lines, names, notes: drawn.append((lines, names))
    )
    for text in (PLAIN, READ[name]):
        assert run("imagine", places.drawing, "--classes", table(tmp_path, text))[0] == 0
    (((_, expected),), names), (((_, found),), _) = drawn
    assert names == NAMES
    assert drawn[1][1] == NAMES
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused_is_refused_everywhere(sentence, run, places, tmp_path):
    path = table(tmp_path, REFUSED[sentence])
    expected = (2, "", f"firstsight: {sentence.format(path=path)}\n")
    assert run("predict", places.eszsl, places.features, "--classes", path) == expected
    assert run("imagine", places.drawing, "--classes", path) == expected
    path = path.rename(tmp_path / "classes.csv")
    says(sentence.format(path=path), load, pictures_beside(path, "kea"))


# what only some places ask


def test_classes_by_the_names_of_their_attributes(tmp_path):
    path = table(tmp_path, 'class,beak,notes,size\n"kea, the",1,x,2\r\n tit ,3,,-4e-1\n', "utf-8-sig")
    classes = read_classes_like(path, LIKE)
    assert classes.names == ("kea, the", "tit")
    assert classes.attributes == ("size", "beak")
    np.testing.assert_array_equal(classes.vectors, [[2, 1], [-0.4, 3]])


def test_other_columns_may_hold_anything(tmp_path):
    path = table(tmp_path, ",class,split,size,notes,beak\n0,kea,train,1,7,2\n1,tit,,3,,4\n")
    np.testing.assert_array_equal(read_classes_like(path, LIKE).vectors, [[1, 2], [3, 4]])


def test_classes_without_names_of_attributes(tmp_path):
    like = ClassEmbeddings(("owl",), np.ones((1, 2)))
    path = table(tmp_path, "split,class,x,y,description\nunseen,kea,1,2,a parrot\n")
    np.testing.assert_array_equal(read_classes_like(path, like).vectors, [[1, 2]])
    path = table(tmp_path, "class,x\nkea,1\n")
    says(f"{path} must have 2 columns of numbers, as in training; got 1", read_classes_like, path, like)
    path = table(tmp_path, "class,x,y,year\nkea,50%,2,2020\n")  # a column of words must not shift the others
    says(f"{path} must have 2 columns of numbers, as in training; got 3", read_classes_like, path, like)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("class,size,beaks", "got none for 'beak'; did 'beaks' mean it?"),
        ("class,Size,BEAKS", "got none for 'beak'; did 'BEAKS' mean it?"),
        ("class,a,b", "got none for 'size' and 1 others"),
    ],
)
def test_missing_attributes(header, sentence, tmp_path):
    path = table(tmp_path, f"{header}\na,1,2\n")
    says(f"{path} must have a column for each of 2 attributes; {sentence}", read_classes_like, path, LIKE)


@pytest.mark.parametrize("text", ["class,size,beak\na,big,2\n", "class,size,beak\na,big,2\nb,small,2\n"])
def test_words_where_an_attribute_is_asked_for(text, tmp_path):
    path = table(tmp_path, text)
    sentence = f"attribute 'size' in {path} must be a finite number for every class; got 'big' for 'a' in line 2"
    says(sentence, read_classes_like, path, LIKE)


def test_no_such_table(tmp_path):
    path = tmp_path / "no.csv"
    says(f"{path} must be a readable file; got no such file or directory", read_class_table, path)
    says(f"{tmp_path} must be a readable file; got is a directory", read_class_table, tmp_path)


def test_columns(tmp_path):
    path = table(tmp_path, "latin,class,big,wet\nstrix,owl,yes,1e-1\nalca,auk,No,FALSE\n")
    read = read_class_table(path)
    assert (read.names, read.lines) == (("owl", "auk"), (2, 3))
    assert (read.splits, read.descriptions) == (("", ""), ("", ""))
    assert (read.attributes, read.text_columns) == (("big", "wet"), ("latin",))
    np.testing.assert_array_equal(read.vectors, [[1, 0.1], [0, 0]])


def test_names_without_anything_else(tmp_path):
    read = read_class_table(table(tmp_path, "class\nowl\nauk\n"))
    assert (read.names, read.vectors.shape) == (("owl", "auk"), (2, 0))


def test_lines_are_counted_as_an_editor_does(tmp_path):
    text = 'sep=,\n\nclass,description,size\nowl,"two\nlines",1\nauk,,much\n'
    sentence = "attribute 'size' in {} must be a finite number for every class; got 'much' for 'auk' in line 6"
    path = table(tmp_path, text)
    says(sentence.format(path), read_class_table, path)
    read = read_class_table(table(tmp_path, text.replace("much", "2")))
    assert (read.lines, read.descriptions) == ((5, 6), ("two\nlines", ""))


def test_bytes_of_another_coding_are_counted_in_large_files(tmp_path):
    lines = "".join(f"bird {row},{row}\n" for row in range(20_000)).encode()
    path = table(tmp_path, b"class,size\n" + lines + b"k\xf6a,1\n")
    at = len(b"class,size\n" + lines) + 1
    sentence = f"{path} must be text in UTF-8; got another coding from byte {at} on; save it as CSV UTF-8"
    says(sentence, read_class_table, path)
    path = table(tmp_path, "class,size\nkea,1\n".encode("utf-16")[:-1])
    with pytest.raises(InputError, match="must be text in UTF-8; got another coding from byte"):
        read_class_table(path)


def test_a_file_without_line_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("firstsight.semantics.class_table._LONGEST", 100)
    path = table(tmp_path, b"\0" * 1000)
    says(f"lines of {path} must be at most 100 characters; got a longer one", read_class_table, path)


def test_memory_is_that_of_the_numbers(tmp_path):
    n, a = 2000, 300
    cells = ",".join(["0.123456"] * a)
    header = ",".join(f"attribute {column}" for column in range(a))
    path = table(tmp_path, f"class,{header}\n" + "".join(f"bird {row},{cells}\n" for row in range(n)))
    tracemalloc.start()
    try:
        assert read_class_table(path).vectors.shape == (n, a)
        assert tracemalloc.get_traced_memory()[1] < 2 * 8 * n * a
    finally:
        tracemalloc.stop()


def test_rows_of_any_table(tmp_path):
    path = table(tmp_path, "sep=;\nFile; split;;\na;b;;\n;;\n\nc;0,5\n")
    read = read_table(path, "file")
    assert read.header == ("File", "split")
    assert read.has_decimal_commas
    assert list(read.rows) == [(3, ["a", "b"]), (6, ["c", "0,5"])]
    empty = read_table(table(tmp_path, "\n  \n"), "file")
    assert (empty.header, list(empty.rows)) == ((), [])
