"""What a class below a method inherits where it changes a part of it: its fit, its scores or its product."""

import dataclasses

import numpy as np
import pytest

from firstsight.errors import InputError
from firstsight.evaluation.evaluate import evaluate
from firstsight.methods import CLIP, CMT, ESZSL, LATEM, SAE, CMTStar
from firstsight.recogniser.onnx import export_method
from firstsight.recogniser.recogniser import Recogniser
from firstsight.recogniser.topk import ClassIndex, top_classes
from tests.support.colours import Eye, picture
from tests.support.tiny import tiny_dataset

DATA = tiny_dataset(v=5)


def zeroed(base):
    """A class below a method whose `_fit` alone is another: what is learned is then set to 0."""

    @dataclasses.dataclass(kw_only=True)
    class Zeroed(base):
        """A method that scores everything alike."""

        def _fit(self, training, controls):
            super()._fit(training, controls)
            self.weight_ *= 0

    return Zeroed


@pytest.mark.parametrize("base", [ESZSL, SAE])
def test_another_fit_is_used_for_several_settings_too(base):
    kind = zeroed(base)
    variants = [kind(lam=lam, device="cpu") for lam in (0.1, 1.0, 10.0, 100.0)]
    fitted = list(kind.fit_each(variants, DATA.training_set()))
    assert sorted(map(id, fitted)) == sorted(map(id, variants))
    for one in fitted:
        np.testing.assert_array_equal(one.scores(DATA.features, DATA.classes), 0)


def test_work_is_shared_by_the_settings_that_are_fitted_together_alone():
    made = []

    @dataclasses.dataclass(kw_only=True)
    class Counting(CLIP):
        """CLIP that counts how often shared work is done."""

        def _fit(self, training, controls):
            assert training.once("work", lambda: made.append(training.n_settings) or len(made)) == len(made)

    kinds = [Counting(scaling=scaling, device="cpu") for scaling in ("none", "none", "standard")]
    square = tiny_dataset(v=5, a=5)
    list(Counting.fit_each(kinds, square.training_set()))
    assert made == [2, 1]
    kinds[0].fit(square.training_set())
    assert made == [2, 1, 1]


@dataclasses.dataclass(kw_only=True)
class Opposite(ESZSL):
    """ESZSL whose worst class is the best."""

    def _scores(self, features, vectors):
        return -super()._scores(features, vectors)


class Negated:
    """The same from beside, for any method."""

    def _scores(self, features, vectors):
        return -super()._scores(features, vectors)


@dataclasses.dataclass(kw_only=True)
class Mixed(Negated, ESZSL):
    """ESZSL with scores from a class that is no method."""


@dataclasses.dataclass(kw_only=True)
class Below(Opposite):
    """A class below one that has scores of its own."""


@dataclasses.dataclass(kw_only=True)
class OtherVectors(CMT):
    """CMT, which writes its scores beside the product, with another product."""

    def _project(self, features):
        return -super()._project(features)


@dataclasses.dataclass(kw_only=True)
class Doubled(ESZSL):
    """ESZSL with another product: its scores follow."""

    def _project(self, features):
        return 2 * super()._project(features)


@pytest.mark.parametrize("kind", [Opposite, Mixed, Below])
def test_own_scores_rank_everywhere(kind, tmp_path):
    plain, method = (made(device="cpu").fit(DATA.training_set()) for made in (ESZSL, kind))
    scores = -plain.scores(DATA.features, DATA.classes)
    order = np.argsort(-scores, axis=1, kind="stable")
    np.testing.assert_allclose(method.scores(DATA.features, DATA.classes), scores, rtol=1e-6)
    np.testing.assert_array_equal(method.predict(DATA.features, DATA.classes), order[:, 0])
    for block in (2, 100):
        top = top_classes(method, DATA.features, DATA.classes, 3, block=block)
        np.testing.assert_array_equal(top.rows, order[:, :3])
        np.testing.assert_allclose(top.scores, np.take_along_axis(scores, order[:, :3], axis=1), rtol=1e-6)
    assert evaluate(method, DATA, calibrate=False).u < evaluate(plain, DATA, calibrate=False).u

    known = Recogniser.of(method, DATA, calibrate=False)
    np.testing.assert_array_equal(known.top(DATA.features, 3).rows, order[:, :3])
    np.testing.assert_array_equal(known.probabilities(DATA.features).argmax(axis=1), order[:, 0])
    answers = known.answers(DATA.features[:4], map(str, range(4)), k=1)
    assert [answer.classes for answer in answers] == [(DATA.classes.names[row],) for row in order[:4, 0]]

    for ask in (lambda: method.project(DATA.features), lambda: method.describe(DATA.classes)):
        with pytest.raises(
            InputError, match=r"^method must score by a product of image and class to be split; got esz"
        ):
            ask()
    with pytest.raises(InputError, match=r"^method must score by a product of image and class to be indexed; got esz"):
        ClassIndex(method, DATA.classes)


def test_own_scores_are_in_the_graph(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    method = Opposite(device="cpu").fit(DATA.training_set())
    path = export_method(method, tmp_path / "graph.onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    vectors = DATA.classes.vectors.astype(np.float32)
    (found,) = session.run(None, {"features": DATA.features, "classes": vectors})
    np.testing.assert_allclose(found, method.scores(DATA.features, DATA.classes), rtol=1e-4, atol=1e-4)


def test_own_scores_are_served():
    pytest.importorskip("httpx2")
    client = pytest.importorskip("fastapi.testclient").TestClient
    from firstsight.serve import make_app

    eye = Eye()
    seen = eye.rows([np.full((1, 8, 8, 3), value) for value in ((255, 0, 0),)])
    served = []
    for kind in (ESZSL, Opposite):
        known = Recogniser.of(kind(device="cpu").fit(DATA.training_set()), DATA, calibrate=False)
        vars(known)["backbone"] = eye
        with client(make_app(known)) as asked:
            answers = asked.post("/v1/predict", files={"file": picture("red")}, data={"top": "9"}).json()["answers"]
        served.append([entry["class"] for entry in answers])
        expected = np.argsort(-known.method.scores(seen, DATA.classes)[0], kind="stable")
        assert served[-1] == [DATA.classes.names[row] for row in expected]
    assert served[0] == served[1][::-1]


def test_which_classes_are_products():
    assert ESZSL().product is not None
    assert CMT().product is not None
    assert Doubled().product is not None
    assert LATEM(n_maps=1).product is not None
    for method in (Opposite(), Mixed(), Below(), OtherVectors(), CMTStar(), LATEM(n_maps=2)):
        assert method.product is None, type(method)


def test_another_product_has_other_scores():
    plain, double = (kind(device="cpu").fit(DATA.training_set()) for kind in (ESZSL, Doubled))
    np.testing.assert_allclose(
        double.scores(DATA.features, DATA.classes), 2 * plain.scores(DATA.features, DATA.classes), rtol=1e-6
    )
