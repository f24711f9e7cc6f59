import json

import numpy as np
import pytest

from firstsight.analysis.dataset_check import check, describe, split_fingerprint
from firstsight.datasets import DataFiles, atlas_settings
from firstsight.errors import InputError
from tests.support.matlab import toy_variables, write_mat73

FEATURES, SPLITS = toy_variables()


def checked(path, **files) -> dict:
    """The report, after a trip through strict JSON."""
    report = check(path, DataFiles(**files))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert describe(report)
    return report


def test_sound_data_set(make_gbu):
    folder = make_gbu()
    (folder / "valclasses1.txt").write_text("jay\n")
    report = checked(folder)
    assert report["problems"] == []
    assert report["counts"] == {
        "images": 30,
        "classes": 6,
        "seen": 4,
        "unseen": 2,
        "attributes": 3,
        "trainval": 16,
        "test_seen": 4,
        "test_unseen": 10,
    }
    assert report["files"] == {
        "semantics": "TOY/att_splits.mat",
        "labels": "TOY/res101.mat",
        "features": ["TOY/res101.mat"],
    }
    (features,) = report["features"]
    norms = np.linalg.norm(FEATURES["features"], axis=0)
    assert features["shape"] == [30, 4]
    assert features["dtype"] == "float64"
    assert features["bad_rows"] == 0
    assert (features["norm_min"], features["norm_max"]) == pytest.approx((norms.min(), norms.max()))
    assert report["class_embeddings"]["norm_max"] == pytest.approx(1)
    assert report["overlaps"] == {
        "trainval and test_seen": 0,
        "trainval and test_unseen": 0,
        "test_seen and test_unseen": 0,
    }
    assert report["class_names"] == SPLITS["allclasses_names"]
    assert report["published"] is None
    assert report["validation_partitions"] == [1]
    assert 0 < report["variance_cosine"] < 1


def test_leak_is_a_warning(make_gbu):
    report = checked(make_gbu())
    assert report["leak"] == {
        "test_seen": 4,
        "test_seen_in_train_or_val": 4,
        "test_unseen_in_train_or_val": 0,
        "train": 10,
        "val": 10,
        "train_kept": 8,
        "val_kept": 8,
    }
    assert report["warnings"] == [
        "train_loc and val_loc must hold no test images; got 4 of 4 test_seen images; intersect both with trainval_loc "
        "before choosing anything on them (leaves 8 / 8); firstsight uses trainval_loc only"
    ]


def test_no_leak_no_warning(make_gbu):
    trainval = np.sort(SPLITS["trainval_loc"], axis=0)
    report = checked(make_gbu(train_loc=trainval[:8], val_loc=trainval[8:]))
    assert report["leak"]["test_seen_in_train_or_val"] == 0
    assert report["warnings"] == []
    assert checked(make_gbu("OTHER", train_loc=None))["leak"] is None
    # What is never used may be broken.
    assert checked(make_gbu("BROKEN", train_loc=["a"], val_loc=np.array([[np.nan]])))["problems"] == []


def test_everything_wrong_at_once(make_gbu):
    features = FEATURES["features"].copy()
    features[0, 0] = np.nan
    labels = FEATURES["labels"].astype(float)
    labels[29] = 7
    report = checked(
        make_gbu(
            features=features,
            labels=labels,
            test_seen_loc=SPLITS["trainval_loc"][:2],
            test_unseen_loc=np.array([[0.0], [30.0]]),
            allclasses_names=["owl", "auk", "jay", "tit", "emu", "owl"],
        )
    )
    assert report["problems"] == [
        "class names in TOY/att_splits.mat must be different; got 'owl' more than once",
        "labels in TOY/res101.mat must name one of 6 classes, 1 to 6; got 7 in place 30",
        "features in TOY/res101.mat must be finite; 1 of 30 images contain NaN or inf",
        "test_unseen_loc in TOY/att_splits.mat must name one of 30 images, 1 to 30; "
        "got 0 in place 1; count from 1, as MATLAB does",
        "trainval_loc and test_seen_loc in TOY/att_splits.mat must not share images; got 2 in both",
    ]
    assert report["overlaps"]["trainval and test_seen"] == 2
    assert report["features"][0]["bad_rows"] == 1
    assert report["variance_cosine"] is None
    assert describe(report).endswith("problems: 5, warnings: 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": FEATURES["labels"] + np.nan},
        {"labels": ["owl"] * 30},
        {"labels": np.zeros((0, 1))},
        {"trainval_loc": np.zeros((0, 1))},
        {"trainval_loc": SPLITS["trainval_loc"] * np.inf},
        {"test_seen_loc": ["a"]},
        {"att": ["a", "b"]},
        {"att": SPLITS["att"] * np.nan},
        {"att": SPLITS["att"] * 0},
        {"features": np.ones((2, 2, 30))},
        {"features": FEATURES["features"] * 1e300},
        {"allclasses_names": []},
        {"allclasses_names": np.ones((6, 1))},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_broken_file_has_a_report(make_gbu, changes):
    report = checked(make_gbu(**changes))
    assert report["problems"] or report["warnings"]


def test_warnings(make_gbu):
    report = checked(make_gbu(att=SPLITS["att"] * 2, test_unseen_loc=np.array([[21.0]]), train_loc=None))
    assert report["warnings"] == [
        "test_unseen must hold images of classes that differ; got 1 classes",
        "class embeddings should have unit length, as published methods expect; got L2 norms from 2 to 2",
        "every image should be in a split; got 9 of 30 in none",
    ]
    assert report["problems"] == []


def test_published_sizes(make_gbu):
    report = checked(make_gbu("apy", train_loc=None))
    assert report["published"]["name"] == "aPY"
    assert report["published"]["differences"]["images"] == {"published": 15339, "here": 30}
    assert report["warnings"] == [
        "sizes must be those of aPY to compare with published numbers; got 4 seen for 20, 2 unseen for 12, "
        "3 attributes for 64, 30 images for 15339, 16 trainval for 5932, 4 test_seen for 1483, 10 test_unseen for 7924"
    ]


def test_fingerprint(make_gbu):
    report = checked(make_gbu())
    assert checked(make_gbu("OTHER", write=write_mat73))["fingerprint"] == report["fingerprint"]
    shuffled = {name: SPLITS[name][::-1].astype("u4") for name in ("trainval_loc", "test_seen_loc", "test_unseen_loc")}
    assert split_fingerprint(SPLITS["allclasses_names"], shuffled) == report["fingerprint"]
    assert split_fingerprint(SPLITS["allclasses_names"][::-1], shuffled) != report["fingerprint"]
    fewer = shuffled | {"test_seen_loc": shuffled["test_seen_loc"][1:]}
    assert split_fingerprint(SPLITS["allclasses_names"], fewer) != report["fingerprint"]


def test_unreadable_file(make_gbu):
    folder = make_gbu()
    (folder / "res101.mat").write_bytes(b"")
    with pytest.raises(InputError, match=r"res101.mat must be a MATLAB file of version 5 or 7.3; got an empty file"):
        check(folder)


def test_description(make_gbu):
    lines = describe(check(make_gbu())).split("\n")
    assert "classes                             4 seen + 2 unseen" in lines
    assert "class names                         owl, auk, jay, ... (6 in all)" in lines
    assert "trainval / test seen / test unseen  16 / 4 / 10" in lines
    assert "leak into train_loc and val_loc     4 of 4 test seen images" in lines
    assert lines[-1] == "problems: 0, warnings: 1"


def test_atlas(make_gbu, monkeypatch):
    from firstsight.datasets import load

    toy = load(make_gbu())
    monkeypatch.setattr("firstsight.analysis.dataset_check.load_files", lambda path, chosen: toy)
    assert atlas_settings("atlas:0.5") == {"semantic_loss": 0.5}
    report = checked("atlas:0.5")
    assert (report["name"], report["layout"], report["leak"], report["files"]) == ("atlas:0.5", "atlas", None, None)
    assert report["counts"]["test_unseen"] == 10
    assert report["fingerprint"] == check(make_gbu("OTHER"))["fingerprint"]
    assert "rendered: 30 x 4, float32" in describe(report)
    assert "leak" not in describe(report)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "leaked", "kept"),
    [
        ("CUB", 1764, (4702, 2355)),
        ("SUN", 2580, (9280, 1040)),
        ("AWA2", 5882, (16187, 7340)),
        ("APY", 1483, (4906, 1026)),
    ],
)
def test_real_leak(gbu_root, name, leaked, kept):
    report = checked(gbu_root / name)
    assert report["problems"] == []
    assert len(report["warnings"]) == 1
    assert report["leak"]["test_seen_in_train_or_val"] == leaked == report["leak"]["test_seen"]
    assert (report["leak"]["train_kept"], report["leak"]["val_kept"]) == kept
    assert report["published"]["differences"] == {}


@pytest.mark.real_data
def test_real_split_has_one_fingerprint(gbu_root):
    att, sent = (checked(gbu_root / "CUB", semantics=semantics) for semantics in ("att", "sent"))
    assert att["fingerprint"] == sent["fingerprint"]
    assert sent["published"]["differences"] == {}
    assert sent["class_embeddings"]["shape"] == [200, 1024]
