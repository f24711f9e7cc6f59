"""What is reproduced from what: inputs found or missing, trainings by item, times, and the same page twice."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from firstsight.bench import reproduce
from firstsight.bench.reproduce import Request, items_named, pieces, plan
from firstsight.bench.reproduce_inputs import Source, sources
from firstsight.bench.reproduce_times import estimated_seconds, measured_before
from firstsight.errors import InputError
from firstsight.methods import METHODS
from firstsight.progress import Display
from firstsight.tuning.settings_file import Chosen
from tests.support.image_attributes import write_apy, write_cub
from tests.support.reproducing import inputs, shrink
from tests.support.tiny import FAST, tiny_dataset, write_gbu


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A GBU folder and pictures; tests leave them as they are."""
    return inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path_factory):
    shrink(monkeypatch.setattr)
    monkeypatch.setenv("FIRSTSIGHT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def said(found):
    return {one.name: one.missing or one.differs or "paper" for one in found}


def test_splits_are_enough_for_the_classes(folders):
    assert said(sources("splits", folders[0], None, ())) == {
        "SUN": "paper",
        "CUB": "paper",
        "AWA2": "no att_splits.mat",
        "aPY": "paper",
    }


def test_features_are_the_papers_or_named(folders):
    assert said(sources("features", *folders, ())) == {
        "SUN": "no res101.mat",
        "CUB": "paper",
        "AWA2": "no att_splits.mat",
        "aPY": "aPY with features of logits.mat, not of res101.mat",
    }


def test_pictures_of_ones_own_stand_for_the_data_set_that_their_name_begins_with(folders):
    *others, own = sources("pictures", *folders, ())
    assert {one.missing for one in others} == {"no res101.mat and no pictures", "no pictures", "no att_splits.mat"}
    assert (own.data, own.printed, own.missing) == ("cub-colours", "CUB", "")
    assert (
        own.differs
        == "cub-colours, in place of CUB: own pictures, split and attributes, features of features.safetensors"
    )


def test_what_would_supply_an_input_is_said(folders):
    by_name = {one.name: one.supply for one in sources("pictures", folders[0], None, ())}
    assert [words.partition(":")[0] for words in by_name["SUN"]] == ["res101.mat and att_splits.mat", "pictures of SUN"]
    assert [words.partition(":")[0] for words in by_name["CUB"]] == ["pictures of CUB"]
    assert sources("features", folders[0], None, ["cub"])[0].supply == ()


def test_the_atlas_stands_in_where_nothing_else_does(folders, tmp_path):
    assert [one.data for one in sources("features", None, None, ())] == ["SUN", "CUB", "AWA2", "APY", "atlas"]
    assert sources("pictures", folders[0], None, ())[-1].data == "atlas"
    bare, pictures = inputs(tmp_path, with_features=False)
    assert sources("features", bare, pictures, ())[-1].data == "cub-colours"
    assert sources("splits", None, None, ())[-1].name == "aPY"  # none is needed for the splits


def test_inputs_that_are_not_there_are_refused(folders, tmp_path):
    with pytest.raises(
        InputError, match=r"data must name folders in gbu or data sets of the paper; got 'CUBS'; did you"
    ):
        sources("splits", folders[0], None, ["CUBS"])
    with pytest.raises(InputError, match="gbu must be a folder of data sets; got"):
        sources("splits", tmp_path / "no", None, ())
    with pytest.raises(InputError, match="pictures must be a folder; got"):
        sources("pictures", folders[0], tmp_path / "no", ())


def test_several_feature_files_are_not_chosen_from(tmp_path):
    gbu, _ = inputs(tmp_path)
    (gbu / "APY" / "more.mat").write_bytes((gbu / "APY" / "logits.mat").read_bytes())
    (one,) = sources("features", gbu, None, ["aPY"])[:1]
    assert one.missing == "no res101.mat (logits.mat, more.mat are there; none is chosen for you)"


def test_items():
    assert items_named(()) == items_named(("fig1", "all")) == tuple(reproduce.ROLES)
    assert items_named(("fig7", "table1")) == ("table1", "fig7")
    with pytest.raises(InputError, match="unknown item 'tabel1'; did you mean 'table1'"):
        items_named(("tabel1",))


def of(folders, tmp_path, *items, **changes):
    given = {"gbu": folders[0], "pictures": folders[1], "quick": True, "seeds": 1}
    return Request(items=items, out=tmp_path / "out", **(given | changes))


def trainings(request, role, data):
    return {
        label: one
        for piece in pieces(request)
        if (piece.role, piece.source.name) == (role, data)
        for label, one in piece.trainings.items()
    }


def test_presets_and_tuned_settings(folders, tmp_path):
    tuned = {("CUB", "eszsl"): Chosen({"gamma": 7.0}, "ausuc"), ("CUB", "spaen"): Chosen({"alpha": 3.0}, "ausuc")}
    request = of(folders, tmp_path, "table1", "table2", "fig7", quick=False, tuned=tuned)
    found = trainings(request, "features", "CUB")
    rivals = ["dap", "iap", "sse", "conse", "sync", "cmt", "cmt_star", "latem", "devise", "ale", "sje", "eszsl", "sae"]
    assert list(found)[:14] == [*rivals, "spaen"]
    assert (found["eszsl"].gamma, found["spaen"].alpha) == (7.0, 3.0)
    spaen = METHODS["spaen"]
    for preset in ("table2-cls-only", "table2", "paper-cls-only", "paper", "figure7-cls-only", "figure7"):
        assert found[f"spaen:{preset}"] == spaen.preset(preset)
    assert "spaen:table2" in trainings(request, "features", "aPY")  # in Table 1 too, where nothing is tuned
    pictures = trainings(of(folders, tmp_path, "fig7", quick=False), "pictures", "cub-colours")
    assert pictures["full"] == METHODS["spaen-pictures"].preset("figure7", side=256)
    assert (pictures["Cls. only"].alpha, pictures["Cls. only"].beta) == (0, 0)


def test_quick_is_shorter_and_smaller(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "QUICK", 10)
    found = trainings(of(folders, tmp_path, "table1", "table3"), "features", "CUB")
    assert found["spaen:table2"] == METHODS["spaen"].preset("table2", epochs=6.0, autoencoder_epochs=6.0)
    assert found["ale"].epochs == round(METHODS["ale"]().epochs / 10)
    assert found["eszsl"] == METHODS["eszsl"]()
    drawn = trainings(of(folders, tmp_path, "table3"), "pictures", "cub-colours")
    assert {(one.side, one.width, one.epochs) for one in drawn.values()} == {(32, 1 / 64, 6.0)}
    with pytest.raises(InputError, match="generator file must be left out with quick"):
        of(folders, tmp_path, "table3", generator_file="g")


@pytest.mark.parametrize("name", ["spaen", "eszsl", "ale", "dap"])
def test_times_are_measured_on_a_part_of_the_training(name, monkeypatch):
    """Fits take as long as they have steps, or as the images they learn from; so the estimate is the whole."""
    data = tiny_dataset(per_class=40)
    kind = METHODS[name]
    clock = [0.0]
    steps = []

    def fit(self, training, controls=None):
        epochs = self.settings().get("epochs")
        work = len(training) / 1000 if epochs is None else 0.3 + 0.01 * epochs
        steps.append(work)
        clock[0] += work
        return self

    monkeypatch.setattr(kind, "fit", fit)
    monkeypatch.setattr("firstsight.bench.reproduce_times.time.perf_counter", lambda: clock[0])
    method = kind(**(FAST.get(name, {}) | ({"epochs": 40} if "epochs" in kind().settings() else {})))
    whole = len(data.trainval) / 1000 if name in ("eszsl", "dap") else 0.3 + 0.4
    assert estimated_seconds(method, data) == pytest.approx(whole, rel=0.05)
    assert sum(steps) < 1.7 * whole


def test_missing_inputs_are_listed_and_what_was_measured_is_kept(folders, tmp_path, monkeypatch):
    request = of(folders, tmp_path, "table2", "fig1")
    with Display(is_quiet=True) as display:
        planned = plan(request, display)
        by_place = {(one.piece.item, one.piece.role, one.piece.source.name): one.seconds for one in planned}
        assert by_place["table2", "features", "CUB"] > 0
        assert by_place["table2", "features", "SUN"] is None
        assert by_place["table2", "pictures", "cub-colours"] > 0
        assert by_place["fig1", "splits", "SUN"] == 0
        monkeypatch.setattr(reproduce, "estimated_seconds", None)
        assert [one.seconds for one in plan(request, display)] == [one.seconds for one in planned]


def test_shared_trainings_are_counted_once(folders, tmp_path):
    with Display(is_quiet=True) as display:
        planned = plan(of(folders, tmp_path, "table3", "fig4"), display)
    [table, figure] = [one for one in planned if one.seconds is not None]
    assert (table.seconds, figure.new) == (figure.seconds, 0)
    assert table.new == pytest.approx(table.seconds)


def numbers(out):
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def test_everything_and_again(folders, tmp_path, monkeypatch):
    """Everything runs, printed stands beside ours, and a second call trains nothing and ends the same."""
    request = of(folders, tmp_path, *reproduce.ROLES)
    with Display(is_quiet=True) as display:
        path, shown = reproduce.reproduce(request, pieces(request), display)
        assert all(part.is_run for part in shown.parts)
        grids = {grid.name: grid for grid in shown.grids}
        assert [*grids] == ["table1", "table1-cosines", "table2", "table2-pictures", "table3", "figure5", "figure7"]
        first = grids["table1"]
        assert (len(first.rows), first.width) == (14, 16)
        cub, apy = first.columns[1], first.columns[3]
        assert (cub.data, cub.differs, apy.differs) == ("CUB", "", "aPY with features of logits.mat, not of res101.mat")
        for row in first.rows:
            cell = row.cell(cub, "h")
            assert cell.ours is not None
            assert cell.printed is not None
            assert row.cell(first.columns[0], "h").ours is None
        column = next(one for one in grids["table3"].columns if one.data == "cub-colours")
        drawn = {row.name: row.cell(column, "mse") for row in grids["table3"].rows}
        assert drawn["SP-AEN"].printed == 0.040
        assert drawn["SP-AEN"].ours.mean > 0
        assert drawn["the mean picture"].printed is None
        assert drawn["the mean picture"].ours.mean > 0
        figures = {figure.name for part in shown.parts for figure in part.figures}
        assert {"figure1-SUN-maps", "figure4-cub-colours", "figure5-cub-colours", "figure7-CUB-features"} <= figures
        before, page = numbers(request.out), path.read_bytes()
        for kind in {type(METHODS[name]()) for name in METHODS}:
            monkeypatch.setattr(kind, "fit", None)
            monkeypatch.setattr(kind, "fit_each", None)
        reproduce.reproduce(request, pieces(request), display)
    assert numbers(request.out) == before
    assert path.read_bytes() == page


def test_an_item_that_fails_does_not_stop_the_others(folders, tmp_path, monkeypatch):
    def refuse(*_):
        raise InputError("weights must be there; got none")

    monkeypatch.setattr(reproduce.ablation, "reconstruction", refuse)
    request = of(folders, tmp_path, "table3", "fig1")
    with Display(is_quiet=True) as display:
        path, shown = reproduce.reproduce(request, pieces(request), display)
    table, figure = shown.parts
    assert not table.is_run
    assert figure.is_run
    assert table.outcomes[-1].said == "weights must be there; got none"
    assert "weights must be there; got none" in path.read_text(encoding="utf-8")


def test_cosines_are_those_of_the_analysis(folders, tmp_path):
    request = of(folders, tmp_path, "table1", data=("SUN",), pictures=None, gbu=folders[0])
    with Display(is_quiet=True) as display:
        cosines = reproduce.cosines_of(request, display)
    data = sources("splits", folders[0], None, ["SUN"])[0].load(Display(is_quiet=True))
    vectors = data.classes.vectors / np.linalg.norm(data.classes.vectors, axis=1, keepdims=True)
    trainval, unseen = (vectors[data.labels[getattr(data, split)]].var(axis=0) for split in ("trainval", "test_unseen"))
    cosine = trainval @ unseen / np.linalg.norm(trainval) / np.linalg.norm(unseen)
    assert cosines == {"SUN": pytest.approx(cosine)}


def test_full_length_says_seeds_and_side(folders, tmp_path):
    request = replace(of(folders, tmp_path, "fig1", quick=False, seeds=3))
    with Display(is_quiet=True) as display:
        _, shown = reproduce.reproduce(request, pieces(request), display)
    assert "3 seeds; pictures of 256 pixels a side, F from ImageNet weights" in shown.conditions[-1]
    assert not shown.is_quick


def test_the_map_is_of_images_where_the_pictures_have_their_attributes(tmp_path):
    """aPY's file in the same folder of pictures does not disturb."""
    data = tiny_dataset(0, n_seen=7, n_unseen=4, a=8)
    folder, n = write_gbu(tmp_path / "CUB", data), len(data.labels)
    names = [f"{label:03d}.Bird/{image}.jpg" for image, label in enumerate(data.labels.tolist())]
    cells = np.array(names, dtype=object)[:, None]
    savemat(folder / "labels.mat", {"labels": data.labels[:, None] + 1, "image_files": cells})
    values = np.random.default_rng(1).integers(0, 2, (n, 8))
    write_cub(tmp_path / "pictures" / "CUB_200_2011", names, values)
    write_apy(tmp_path / "pictures" / "aPY", names, ["a"] * n, values)
    source = Source("CUB", printed="CUB", path=str(folder))
    request = Request(items=("fig1",), out=tmp_path, pictures=tmp_path / "pictures")
    data = source.load(Display(is_quiet=True))
    found = [reproduce._mapped(data, source, one) for one in (request, replace(request, pictures=None))]
    assert [record.projection.of for record in found] == ["images", None]
    assert len(found[0].projection.all) == len(data.test_images)
    captions = [reproduce.reproduce_parts._of_classes(record)[-1].caption for record in found]
    assert "A dot is a test image" in captions[0]
    assert "A dot is a class" in captions[1]


def test_items_of_earlier_calls_in_the_same_way_stay_on_the_page(folders, tmp_path):
    seen = []
    for items, changes in ((("fig1",), {}), (("table1",), {}), (("fig1",), {}), (("fig1",), {"seeds": 2})):
        seen.append(reproduce.with_earlier_items(of(folders, tmp_path, *items, **changes)).items)
    assert seen == [("fig1",), ("table1", "fig1"), ("table1", "fig1"), ("fig1",)]
    (tmp_path / "out" / "items.json").write_text("{")
    assert reproduce.with_earlier_items(of(folders, tmp_path, "fig4")).items == ("fig4",)


@pytest.mark.parametrize("text", ["{", "", "[]", "5", "null", '{"a": "b"}', '{"a": NaN}', '{"a": -1}'])
def test_a_damaged_file_of_times_is_measured_again(text, tmp_path):
    file = tmp_path / "measured.json"
    file.write_text(text)
    assert measured_before(file) == {}
    file.write_text('{"a": 2.5}')
    assert measured_before(file) == {"a": 2.5}


def test_every_class_is_there_when_a_closed_form_is_measured():
    data = tiny_dataset()
    images = np.random.default_rng(0).permutation(data.trainval)
    data = replace(data, trainval=images[np.argsort(data.labels[images] == data.seen[0], kind="stable")])
    assert estimated_seconds(METHODS["eszsl"](), data) > 0


def test_no_passes_are_a_step_each():
    method = METHODS["spaen"](**(FAST["spaen"] | {"epochs": 0.0, "autoencoder_epochs": 0.0}))
    assert estimated_seconds(method, tiny_dataset()) > 0


def test_tuned_settings_on_pictures_are_changes_of_the_defaults(folders, tmp_path):
    tuned = {("cub-colours", "spaen-pictures"): Chosen({"alpha": 10.0, "epochs": 3.0}, "by tuning")}
    request = of(folders, tmp_path, "table3", tuned=tuned, quick=False, side=32, pretrained="none")
    made = reproduce._of_pictures("table3", "cub-colours", request)
    assert made == METHODS["spaen-pictures"](alpha=10.0, epochs=3.0, side=32, pretrained="none")


def test_a_damaged_data_set_does_not_stop_the_cosines(tmp_path):
    gbu, pictures = inputs(tmp_path)
    (gbu / "APY" / "att_splits.mat").write_bytes(b"no file of MATLAB")
    request = Request(items=("table1",), out=tmp_path / "out", gbu=gbu, pictures=pictures, data=("CUB", "APY"))
    with Display(is_quiet=True) as display:
        assert set(reproduce.cosines_of(request, display)) == {"CUB"}
