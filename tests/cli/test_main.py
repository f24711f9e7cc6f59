"""The command line from outside: what it prints, where, and with which exit code."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.io import loadmat, savemat

from firstsight import __version__, cli
from firstsight.bench.bench import Bench
from firstsight.cli.options import as_json
from firstsight.data import ClassEmbeddings
from firstsight.datasets import load
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import ESZSL, METHODS, SPAEN, Method, load_method
from firstsight.methods.abilities import needs_pictures
from firstsight.results.numbers import METRICS
from tests.support.tiny import tiny_dataset, widths, write_gbu

DATA = tiny_dataset(n_seen=6, n_unseen=3, w=5)
TINY_SPAEN = (
    *("--hidden", "4", "--batch", "8", "--epochs", "0.8", "--autoencoder-epochs", "0.6", "--critic-steps", "1"),
    *("--alpha", "1", "--beta", ".1", "--device", "cpu"),
)
ROW = {
    "data": str,
    "method": str,
    "seed": int,
    "t1": float,
    "u": float,
    "s": float,
    "h": float,
    "ausuc": float,
    "gamma": float,
    "u_cal": float,
    "s_cal": float,
    "h_cal": float,
    "seconds_fit": float,
    "seconds_score": float,
    "settings": dict,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set on disk; tests leave it as it is."""
    return write_gbu(tmp_path_factory.mktemp("data") / "TINY", DATA)


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """A saved ESZSL of it."""
    return ESZSL(gamma=1.0, lam=1.0).fit(load(folder).training_set()).save(tmp_path_factory.mktemp("model") / "eszsl")


def fails(run, sentence, *words):
    assert run(*words) == (2, "", f"firstsight: {sentence}\n")


# help


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words, run):
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    for name, command in cli.COMMANDS.items():
        assert f"  {name:<23}{command.__doc__.splitlines()[0]}\n" in out
    assert out.startswith("usage: firstsight COMMAND [OPTIONS]\n")
    assert max(map(len, out.splitlines())) <= 120


def test_help_answers_without_torch():
    script = (
        "import sys\n"
        "from firstsight.cli import main\n"
        "main(['--help'])\n"
        "print(*({'torch', 'tyro', 'numpy', 'sklearn'} & set(sys.modules)), file=sys.stderr, end='')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "analyse variance" in done.stdout


@pytest.mark.parametrize("command", [*cli.COMMANDS, *(f"fit {name}" for name in METHODS)])
def test_every_command_has_help(command, run):
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: firstsight {command} ")


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_is_an_option_with_help(name, run):
    _, out, _ = run("fit", name, "--help")
    for field in dataclasses.fields(METHODS[name]):
        off = "no-" if field.default is True else ""  # what is on by itself can be switched off
        assert f"--{off}{field.name.replace('_', '-')} " in out
    for option in ("--data", "--features", "--semantics", "--out", "--preset", "--checkpoint-every"):
        assert f"{option} " in out


def test_version(run):
    assert run("--version") == (0, f"firstsight {__version__}\n", "")


def test_the_installed_command_is_this_one():
    script = shutil.which("firstsight", path=os.path.dirname(sys.executable))
    assert script
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"firstsight {__version__}\n"


def test_methods_are_listed_with_source_and_presets(run):
    code, out, err = run("methods")
    assert (code, err) == (0, "")
    for name, kind in METHODS.items():
        assert f"{name:<10}" in out
        assert kind.source in out
        assert not kind.presets or f"presets: {', '.join(kind.presets)}" in out


# what goes wrong, in one line each


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("evalute x", "unknown command 'evalute'; did you mean 'evaluate'?"),
        ("data", "unknown command 'data'; did you mean 'data check'?"),
        ("data chekc x", "unknown command 'data chekc'; did you mean 'data check'?"),
        ("analyse", "unknown command 'analyse'; did you mean 'analyse variance'?"),
        ("quux", "unknown command 'quux'; see `firstsight --help`"),
        ("--quux", "unknown command '--quux'; see `firstsight --help`"),
        ("fit", None),
        ("fit eszzl --data x --out y", "unknown method 'eszzl'; did you mean 'eszsl'?"),
        ("fit quux", f"unknown method 'quux'; methods are {', '.join(METHODS)}"),
        ("bench --data x --methods eszzl --out y", "unknown method 'eszzl'; did you mean 'eszsl'?"),
        ("bench --data x --methods eszsl --out y --seeds 0", "seeds must be 1 or more; got 0"),
        ("fit eszsl --preset paper --data x --out y", "preset of eszsl must be one of none; got 'paper'"),
        (
            "fit spaen --preset=papre --data x --out y",
            f"preset of spaen must be one of {', '.join(SPAEN.presets)}; got 'papre'",
        ),
        ("bench --data x --methods eszsl:x --out y", "preset of eszsl must be one of none; got 'x'"),
        ("evaluate missing.safetensors --data x", "model file must exist; got missing.safetensors"),
    ],
)
def test_one_line_on_stderr_and_exit_2(words, sentence, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if sentence is None:
        code, _, err = run(*words.split())
        assert (code, err) == (2, "firstsight: METHOD must be named; got none\n")
    else:
        fails(run, sentence, *words.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["data", "check", "{}"],
        ["analyse", "variance", "{}"],
        ["fit", "eszsl", "--data", "{}", "--out", "model"],
        ["bench", "--data", "{}", "--methods", "eszsl", "--out", "out"],
    ],
)
def test_missing_folder(words, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = tmp_path / "nowhere"
    sentence = (
        f"data must be a folder in the GBU layout or the word atlas; got {str(missing)!r}, a path where nothing is"
    )
    fails(run, sentence, *(word.format(missing) for word in words))


def test_missing_folder_in_evaluate(run, model, tmp_path):
    code, out, err = run("evaluate", model, "--data", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "got a path where nothing is" in err or "a path where nothing is" in err


def test_model_of_another_data_set(run, model, tmp_path):
    narrow = write_gbu(tmp_path / "NARROW", tiny_dataset(v=5))
    fails(run, "inputs must have 7 columns, as in training; got 5", "evaluate", model, "--data", narrow)
    wide = ClassEmbeddings(DATA.classes.names, np.ones((9, 6)))
    other = write_gbu(tmp_path / "OTHER", dataclasses.replace(DATA, classes=wide))
    sentence = "candidates must have 4 columns, as in training; got 6"
    fails(run, sentence, "evaluate", model, "--data", other, "--no-calibrate")


def test_model_that_has_seen_the_unseen(run, tmp_path):
    one, other = tiny_dataset(seed=0), tiny_dataset(seed=1)
    model = ESZSL().fit(one.training_set()).save(tmp_path / "model")
    code, out, err = run("evaluate", model, "--data", write_gbu(tmp_path / "OTHER", other))
    assert (code, out) == (2, "")
    assert err.startswith("firstsight: method must be trained on seen classes of 'OTHER'; got one trained on 'class ")
    assert err.endswith(", which has no training images there\n")


def with_nan(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "BROKEN")
    content = {key: value for key, value in loadmat(broken / "res101.mat").items() if not key.startswith("_")}
    content["features"] = content["features"].copy()
    content["features"][0, [3, 8]] = np.nan
    savemat(broken / "res101.mat", content)
    return broken


def test_features_with_nan(run, folder, model, tmp_path):
    broken = with_nan(folder, tmp_path)
    sentence = "features in BROKEN/res101.mat must be finite; 2 of 90 images contain NaN or inf"
    fails(run, sentence, "evaluate", model, "--data", broken)
    fails(run, sentence, "fit", "eszsl", "--data", broken, "--out", tmp_path / "new")
    fails(run, sentence, "bench", "--data", broken, "--methods", "eszsl", "--out", tmp_path / "out")


def test_a_file_that_is_no_model(run, folder):
    code, out, err = run("evaluate", folder / "res101.mat", "--data", folder)
    assert (code, out) == (2, "")
    assert err.startswith(f"firstsight: {folder / 'res101.mat'} must be a .safetensors file; got ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["fit eszsl --data {0} --out {1}/model", "bench --data {0} --methods eszsl --out {1}"]
)
def test_places_that_cannot_be_written_to(words, run, folder, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(*words.format(folder, tmp_path / "file").split())
    assert (code, out) == (2, "")
    assert re.fullmatch(r"firstsight: \S+ must be (usable|a place to write to); got [^\n]+\n", err)


def test_bad_settings(run, folder, tmp_path):
    sentence = "gamma must be a number of 0 or more; got -1.0"
    fails(run, sentence, "fit", "eszsl", "--data", folder, "--out", tmp_path / "model", "--gamma", "-1")
    sentence = "device must be auto, cpu or a device torch finds here; got 'gpu'"
    fails(run, sentence, "fit", "eszsl", "--data", folder, "--out", tmp_path / "model", "--device", "gpu")


@pytest.mark.parametrize("words", ["evaluate", "fit eszsl --gamma x", "bench --seeds x", "report a b", "methods x"])
def test_wrong_options(words, run):
    code, out, err = run(*words.split())
    assert code == 2
    assert "Traceback" not in out + err


def test_ctrl_c_is_no_traceback(run, folder, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Method, "fit", interrupt)
    words = ("fit", "eszsl", "--data", folder, "--out", tmp_path / "model")
    assert run(*words) == (130, "", "firstsight: stopped\n")


# data check and analyse


def test_data_check(run, folder):
    code, out, err = run("data", "check", folder)
    assert (code, err) == (0, "")
    assert "6 seen + 3 unseen" in out
    code, out, err = run("data", "check", folder, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert out.count("\n") == 1
    assert report["problems"] == []
    assert (report["counts"]["seen"], report["counts"]["unseen"], report["counts"]["images"]) == (6, 3, 90)


def test_data_check_of_broken_data_exits_with_2(run, folder, tmp_path):
    broken = with_nan(folder, tmp_path)
    code, out, _ = run("data", "check", broken)
    assert code == 2
    assert "problem: features in BROKEN/res101.mat must be finite; 2 of 90 images contain NaN or inf\n" in out
    code, out, _ = run("data", "check", broken, "--json")
    assert code == 2
    (problem,) = json.loads(out)["problems"]
    assert problem == "features in BROKEN/res101.mat must be finite; 2 of 90 images contain NaN or inf"


def test_analyse_variance(run, folder):
    code, out, err = run("analyse", "variance", folder, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report.keys() == {"data", "attributes", "trainval", "test_unseen", "cosine", "published_cosine"}
    assert report["data"] == "TINY"
    assert len(report["trainval"]) == len(report["test_unseen"]) == 4
    assert run("analyse", "variance", folder) == (
        0,
        f"TINY: cosine of attribute variances {report['cosine']:.4f}\n",
        "",
    )


# fit and evaluate


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if not needs_pictures(kind)])
def test_fit_then_evaluate(name, run, folder, tmp_path):
    if METHODS[name].one_space:
        folder = write_gbu(tmp_path / "TINY", tiny_dataset(**widths(name)))
    out_file = tmp_path / "new" / "model.safetensors"
    options = TINY_SPAEN if name == "spaen" else []
    code, out, err = run("fit", name, "--data", folder, "--out", out_file, "--seed", "3", *options)
    assert (code, err) == (0, "")
    assert out == f"{name} trained on 48 images of 6 classes is at {out_file}\n"
    assert [path.name for path in out_file.parent.iterdir()] == ["model.safetensors"]
    method = load_method(out_file)
    assert method.seed == 3
    code, out, err = run("evaluate", out_file, "--data", folder, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    expected = evaluate(method, load(folder))
    assert {key: report[key] for key in expected.metrics()} == pytest.approx(expected.metrics())
    assert (report["data"], report["method"]) == ("TINY", name)
    assert [row["name"] for row in report["classes"]] == list(DATA.classes.names)


def test_the_settings_on_the_command_line_are_the_saved_ones(run, folder, tmp_path):
    words = ["--gamma", "2", "--lam", "3.5", "--scaling", "l2", "--class-scaling", "centred"]
    assert run("fit", "eszsl", "--data", folder, "--out", tmp_path / "model", *words)[0] == 0
    assert load_method(tmp_path / "model") == ESZSL(gamma=2.0, lam=3.5, scaling="l2", class_scaling="centred")


def test_presets_on_the_command_line(run, folder, tmp_path):
    words = ["--preset", "paper", "--beta", "0.5", *TINY_SPAEN[:10]]
    assert run("fit", "spaen", "--data", folder, "--out", tmp_path / "model", *words)[0] == 0
    changes = {"beta": 0.5, "hidden": 4, "batch": 8, "epochs": 0.8, "autoencoder_epochs": 0.6, "critic_steps": 1}
    assert load_method(tmp_path / "model") == SPAEN.preset("paper", **changes)


def test_tune_writes_what_fit_and_bench_take(run, folder, tmp_path):
    tuned = tmp_path / "tuned.toml"
    code, out, err = run("tune", "eszsl", "--data", folder, "--partitions", "2", "--out", tuned, "--json")
    assert code == 0
    assert err.startswith("eszsl     ausuc ")
    (tuned_method,) = json.loads(out)["tuned"]
    trials = tuned_method["trials"]
    assert len(trials) == 196
    assert sum(trials[0]["values"]) == max(sum(trial["values"]) for trial in trials)
    best = ESZSL(**trials[0]["settings"])
    assert run("fit", "eszsl", "--data", folder, "--settings", tuned, "--out", tmp_path / "model")[0] == 0
    assert load_method(tmp_path / "model") == best
    rows = bench(run, folder, tmp_path / "out", "--settings", tuned)
    assert rows[0]["settings"] == best.settings()
    changed = ["--settings", tuned, "--lam", "7", "--out", tmp_path / "other"]
    assert run("fit", "eszsl", "--data", folder, *changed)[0] == 0
    assert load_method(tmp_path / "other") == dataclasses.replace(best, lam=7.0)


def test_tune_for_people(run, folder, tmp_path):
    tuned = tmp_path / "tuned.toml"
    words = ("--data", folder, "--objective", "t1", "--trials", "2", "--out", tuned)
    code, out, err = run("tune", "eszsl", "ale", *words)
    assert (code, out) == (0, f"The settings are in {tuned}; `--settings {tuned}` uses them\n")
    first, second = err.splitlines()
    assert re.fullmatch(r"eszsl +t1 [\d.]+, best of 196: gamma \S+  lam \S+  scaling \S+  class_scaling \S+", first)
    assert re.fullmatch(r"ale +t1 [\d.]+, best of 2: scaling \S+  class_scaling \S+  learning_rate \S+", second)
    text = tuned.read_text()
    assert re.search(r'# t1 [\d.]+, best of 196, on 3 sets of validation classes; .*\n\["TINY".eszsl\]\n', text)
    assert '["TINY".ale]' in text
    assert (tmp_path / "tuned.db").exists()


def test_tune_checks_before_it_loads(run):
    fails(run, "methods must be named; got none; `all` is every one", "tune", "--data", "/nowhere")
    for option in ("jobs", "partitions"):
        words = ("tune", "eszsl", "--data", "/nowhere", f"--{option}", "0")
        fails(run, f"{option} must be 1 or more; got 0", *words)


def test_tune_of_several_where_one_fails(run, folder, tmp_path):
    tuned = tmp_path / "tuned.toml"
    words = ("--data", folder, "--objective", "t1", "--out", tuned)
    code, _, err = run("tune", "cmt_star", "sae", *words)
    assert code == 2
    assert err.splitlines()[0] == (
        "cmt_star  failed: objective must be ausuc, h or h_cal for cmt_star, which has no t1; got 't1'"
    )
    assert (
        err.splitlines()[-1] == "firstsight: methods must be tuned; got cmt_star failed; the same command tries again"
    )
    assert '["TINY".sae]' in tuned.read_text()


@pytest.mark.usefixtures("seeded")
def test_bench_with_several_semantics_and_their_settings(run, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "TINY")
    shutil.copy(copy / "att_splits.mat", copy / "sent_splits.mat")
    (tmp_path / "tuned.toml").write_text('["TINY sent".eszsl]\ngamma = 5.0\n')
    rows = bench(run, copy, tmp_path / "out", "--semantics", "att", "sent", "--settings", tmp_path / "tuned.toml")
    assert [row["data"] for row in rows] == ["TINY", "TINY", "TINY sent", "TINY sent"]
    assert [row["settings"]["gamma"] for row in rows] == [1000.0, 1000.0, 5.0, 5.0]


def test_bench_of_all_methods(run, folder, tmp_path, monkeypatch):
    needy = ("clip", "spaen-pictures")  # of features and class embeddings of one model; of pictures
    expected = [name for name in METHODS if name not in needy]
    monkeypatch.setattr(Bench, "run", lambda bench, *_: [] if list(bench.methods) == expected else None)
    assert run("bench", "--data", folder, "--methods", "all", "--out", tmp_path, "--json")[:2] == (0, '{"rows": []}\n')


def test_separate_reconstruction_features(run, folder, tmp_path):
    """What calibration fits again has the same inputs as what was fitted."""
    words = ["--data", folder, "--reconstruction-features", "other.mat"]
    assert run("fit", "spaen", *words, "--out", tmp_path / "model", *TINY_SPAEN)[0] == 0
    assert load_file(tmp_path / "model")["networks_.generator.4.bias"].shape == (5,)
    code, out, err = run("evaluate", tmp_path / "model", *words, "--json")
    assert (code, err) == (0, "")
    expected = evaluate(load_method(tmp_path / "model"), load(folder, None, None, "other.mat"))
    assert json.loads(out)["gamma"] == expected.gamma


def test_joined_features(run, folder, tmp_path):
    words = ["--data", folder, "--features", "res101.mat", "other.mat"]
    assert run("fit", "eszsl", *words, "--out", tmp_path / "model")[0] == 0
    assert load_file(tmp_path / "model")["feature_widths_"].tolist() == [7, 5]
    assert run("evaluate", tmp_path / "model", *words)[0] == 0


def test_evaluate_for_people(run, folder, model):
    code, out, err = run("evaluate", model, "--data", folder)
    assert (code, err) == (0, "")
    result = evaluate(load_method(model), load(folder))
    lines = out.splitlines()
    assert lines[0] == "eszsl on TINY, percent, mean per class"
    assert lines[1] == f"  t1      {result.t1:8.1f}  unseen images, unseen classes to choose from"
    assert lines[5].split()[:2] == ["ausuc", f"{result.ausuc:.4f}"]
    assert [line.split()[0] for line in lines[1:]] == [key for key in METRICS if key != "ausuc_per_sample"]
    code, out, _ = run("evaluate", model, "--data", folder, "--no-calibrate")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["t1", "u", "s", "h", "ausuc"]
    report = json.loads(run("evaluate", model, "--data", folder, "--no-calibrate", "--json")[1])
    assert report["gamma"] is report["h_cal"] is None


def test_json_has_no_nan():
    assert json.loads(as_json({"a": float("nan"), "b": np.float32(1.5), "c": np.arange(2), 3: (None, True)})) == {
        "a": None,
        "b": 1.5,
        "c": [0, 1],
        "3": [None, True],
    }


# bench


def bench(run, folder, out, *more):
    words = ("bench", "--data", folder, "--out", out, "--json", "--methods", "eszsl", "--seeds", "2", *more)
    code, printed, err = run(*words)
    assert code == 0, err
    return json.loads(printed)["rows"]


@pytest.fixture
def seeded(monkeypatch):
    """ESZSL as if the seed changed it, so that bench runs it with every seed."""
    monkeypatch.setattr(ESZSL, "is_random", True)


def test_a_method_without_randomness_runs_once(run, folder, tmp_path):
    rows = bench(run, folder, tmp_path)
    assert [(row["method"], row["seed"]) for row in rows] == [("eszsl", 0)]


@pytest.mark.usefixtures("seeded")
def test_bench_rows(run, folder, tmp_path):
    rows = bench(run, folder, tmp_path)
    assert [(row["data"], row["method"], row["seed"]) for row in rows] == [("TINY", "eszsl", 0), ("TINY", "eszsl", 1)]
    for row in rows:
        assert {key: type(value) for key, value in row.items()} == ROW | {"error": type(None)}
    assert rows[1]["settings"] == ESZSL(seed=1).settings()
    expected = evaluate(ESZSL().fit(load(folder).training_set()), load(folder)).metrics()
    assert {key: rows[0][key] for key in ("t1", "u", "s", "h", "ausuc", "gamma", "h_cal")} == pytest.approx(
        {key: expected[key] for key in ("t1", "u", "s", "h", "ausuc", "gamma", "h_cal")}
    )
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["TINY-eszsl-0.json", "TINY-eszsl-1.json"]


def test_bench_hands_every_data_option_on(run, folder, tmp_path):
    bench(run, folder, tmp_path, "--features", "other.mat", "--reconstruction-features", "res101.mat")
    stored = json.loads((tmp_path / "runs" / "TINY-eszsl-0.json").read_text())
    assert stored["fingerprint"] == load(folder, "other.mat", None, "res101.mat").fingerprint


def test_bench_keeps_finished_runs(run, folder, tmp_path, monkeypatch):
    rows = bench(run, folder, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    monkeypatch.setattr(Method, "fit", lambda *_: pytest.fail("fitted again"))
    assert bench(run, folder, tmp_path) == rows
    assert {path: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == before


def count_fits(monkeypatch):
    fits = []
    real = Method.fit
    monkeypatch.setattr(Method, "fit", lambda self, *given: (fits.append(self.seed), real(self, *given))[1])
    return fits


@pytest.mark.usefixtures("seeded")
def test_an_interrupted_bench_goes_on(run, folder, tmp_path, monkeypatch):
    rows = bench(run, folder, tmp_path)
    (tmp_path / "runs" / "TINY-eszsl-1.json").unlink()
    fits = count_fits(monkeypatch)
    again = bench(run, folder, tmp_path)
    assert fits == [1, 1]  # the run and its calibration
    assert [row["h_cal"] for row in again] == [row["h_cal"] for row in rows]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "{}", '{"settings": {}}'])
def test_a_run_that_cannot_be_read_is_run_again(content, run, folder, tmp_path, monkeypatch):
    rows = bench(run, folder, tmp_path, "--no-calibrate")
    (tmp_path / "runs" / "TINY-eszsl-0.json").write_text(content)
    fits = count_fits(monkeypatch)
    assert [row["h"] for row in bench(run, folder, tmp_path, "--no-calibrate")] == [row["h"] for row in rows]
    assert fits == [0]


@pytest.mark.parametrize("what", ["vectors", "features", "labels", "split", "validation classes"])
@pytest.mark.usefixtures("seeded")
def test_changed_data_is_run_again(what, run, tmp_path, monkeypatch):
    folder = write_gbu(tmp_path / "TINY", DATA)
    bench(run, folder, tmp_path / "out")
    changed = {
        "vectors": {"classes": dataclasses.replace(DATA.classes, vectors=DATA.classes.vectors + 0.1)},
        "features": {"features": DATA.features + np.float32(0.1)},
        "labels": {},
        "split": {"trainval": DATA.trainval[1:]},
        "validation classes": {},
    }[what]
    write_gbu(folder, dataclasses.replace(DATA, **changed))
    if what == "validation classes":
        (folder / "valclasses1.txt").write_text("\n".join(DATA.classes.names[row] for row in DATA.seen[:3]))
    if what == "labels":
        rows = DATA.labels.copy()
        images = DATA.test_seen[[0, -1]]
        rows[images] = rows[images[::-1]]
        write_gbu(folder, dataclasses.replace(DATA, labels=rows))
    fits = count_fits(monkeypatch)
    bench(run, folder, tmp_path / "out")
    assert fits == [0, 0, 1, 1]


@pytest.mark.usefixtures("seeded")
def test_changed_feature_sets_are_run_again(run, folder, tmp_path, monkeypatch):
    bench(run, folder, tmp_path)
    fits = count_fits(monkeypatch)
    bench(run, folder, tmp_path, "--features", "res101.mat", "other.mat")
    assert len(fits) == 4


def test_changed_settings_are_run_again(run, folder, tmp_path, monkeypatch):
    bench(run, folder, tmp_path)
    path = tmp_path / "runs" / "TINY-eszsl-0.json"
    document = json.loads(path.read_text())
    document["settings"]["gamma"] = 3.0
    path.write_text(json.dumps(document))
    fits = count_fits(monkeypatch)
    bench(run, folder, tmp_path)
    assert fits == [0, 0]


@pytest.mark.usefixtures("seeded")
def test_calibration_is_made_up_for(run, folder, tmp_path):
    assert [row["gamma"] for row in bench(run, folder, tmp_path, "--no-calibrate")] == [None, None]
    assert all(row["gamma"] is not None for row in bench(run, folder, tmp_path))


def test_bench_of_several(run, folder, tmp_path):
    second = write_gbu(tmp_path / "SECOND", tiny_dataset(seed=5))
    words = ("bench", "--data", folder, second, "--methods", "eszsl", "--seeds", "1", "--out", tmp_path / "out")
    code, out, err = run(*words)
    assert code == 0
    assert out == (
        f"2 runs are in {tmp_path / 'out'}; `firstsight report {tmp_path / 'out'} --out report.html` shows them\n"
    )
    assert err.startswith("eszsl on TINY, seed 0: t1 ")
    assert err.count("\n") == 2


def test_data_sets_of_the_same_name(run, folder, tmp_path):
    words = ("bench", "--data", folder, folder, "--methods", "eszsl", "--out", tmp_path / "out")
    fails(run, "data sets must have different names; got TINY, TINY", *words)


def test_bench_of_one_unseen_class(run, tmp_path):
    """It has no attribute variance among unseen images, which is no reason not to test on it."""
    folder = write_gbu(tmp_path / "ONE", tiny_dataset(n_unseen=1))
    rows = bench(run, folder, tmp_path / "out")
    assert rows[0]["t1"] == 100


def test_report_of_a_bench(run, folder, tmp_path):
    pytest.importorskip("firstsight.report")
    bench(run, folder, tmp_path / "out")
    page = tmp_path / "page.html"
    assert run("report", tmp_path / "out", "--out", page) == (0, f"The report is at {page}\n", "")
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "TINY" in text


def test_report_with_tables_and_figures(run, folder, tmp_path):
    bench(run, folder, tmp_path / "out")
    page, tables, figures = (tmp_path / name for name in ("page.html", "tables", "figures"))
    code, out, _ = run("report", tmp_path / "out", "--out", page, "--tables", tables, "--figures", figures)
    assert (code, out) == (0, f"The report is at {page}\n")
    assert (tables / "TINY-numbers.csv").is_file()
    assert (tables / "TINY-numbers.tex").is_file()
    assert (figures / "TINY-curves.svg").is_file()


def test_report_as_pdf_without_a_browser(run, folder, tmp_path, monkeypatch):
    bench(run, folder, tmp_path / "out")
    monkeypatch.setenv("PATH", str(tmp_path))
    page = tmp_path / "page.html"
    code, out, err = run("report", tmp_path / "out", "--out", page, "--pdf", tmp_path / "page.pdf")
    assert (code, out) == (2, f"The report is at {page}\n")
    assert err.startswith("firstsight: pdf must be printed by a browser; got none of chromium")
    assert err.count("\n") == 1


def test_report_of_nothing(run, tmp_path):
    code, out, err = run("report", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
