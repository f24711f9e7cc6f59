import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import LinearSVC
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from firstsight.data import ClassEmbeddings
from firstsight.errors import InputError
from firstsight.methods import SYNC, FitControls, sync
from firstsight.methods.sync import best_wrong_loss, one_vs_other_loss
from tests.support.tiny import tiny_dataset, tiny_training

LOSSES = ["one-vs-other", "crammer-singer", "structured"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def placed(training):
    """Seen class embeddings in units of their median distance, and that distance."""
    vectors = unit(training.classes.vectors)
    pairs = np.triu_indices(len(vectors), 1)
    distances = np.sort(np.linalg.norm(vectors[:, None] - vectors, axis=2)[pairs])
    median = distances[(len(distances) - 1) // 2]
    return vectors / median, median


def classifiers(method, training):
    """W [s, v], read off the scores of single features; scaling must be none."""
    return method.scores(np.eye(training.features.shape[1]), training.classes).T.astype(float)


def margins(loss, training):
    vectors, _ = placed(training)
    if loss == "structured":
        return np.linalg.norm(vectors[:, None] - vectors, axis=2)
    return 1 - np.eye(len(vectors))


def objective(loss, W, training, lam):
    """The paper's, image by image."""
    total, X, labels = 0.0, training.features.astype(float), training.labels
    delta = margins(loss, training)
    for x, y in zip(X, labels, strict=True):
        scores = W @ x
        if loss == "one-vs-other":
            total += sum(max(0, 1 - (1 if c == y else -1) * score) ** 2 for c, score in enumerate(scores))
        else:
            total += max(delta[y, c] + score - scores[y] for c, score in enumerate(scores))
    return total / len(X) + lam / 2 * (W**2).sum()


def fit(training, **settings):
    return SYNC(**({"scaling": "none", "device": "cpu", "steps": 500} | settings)).fit(training)


@pytest.mark.parametrize("lam", [1e-2, 0.1])
def test_one_vs_other_is_one_svm_per_class(lam):
    """Where similarity falls so fast that seen classes see their own phantom only, and everywhere else."""
    training = tiny_training(noise=1.0)
    X = training.features.astype(float)
    for scale in (1e3, 0.5):
        W = classifiers(fit(training, loss="one-vs-other", lam=lam, scale=scale), training)
        for row, w in enumerate(W):
            svm = LinearSVC(C=1 / (len(X) * lam), loss="squared_hinge", fit_intercept=False, tol=1e-8, max_iter=10**6)
            expected = svm.fit(X, training.labels == row).coef_[0]
            np.testing.assert_allclose(w, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_crammer_singer_is_the_multiclass_svm():
    training, lam = tiny_training(noise=1.0), 0.1
    X = training.features.astype(float)
    svm = LinearSVC(C=1 / (len(X) * lam), multi_class="crammer_singer", fit_intercept=False, tol=1e-8, max_iter=10**6)
    best = objective("crammer-singer", svm.fit(X, training.labels).coef_, training, lam)
    W = classifiers(fit(training, loss="crammer-singer", lam=lam), training)
    assert best - 1e-6 <= objective("crammer-singer", W, training, lam) <= best + 0.01 * np.log(len(W))
    np.testing.assert_allclose(W, svm.coef_, atol=0.03 * np.abs(W).max())


def test_structured_against_a_quadratic_program():
    """min mean(xi) + lam / 2 ||W||^2 with xi_i >= margin + m_ic - m_iy_i for every class c."""
    training, lam = tiny_training(n_seen=3, per_class=5, v=2, a=3, noise=1.0), 0.05
    X, labels, delta = training.features.astype(float), training.labels, margins("structured", training)
    n, size = len(X), 6

    def slack(z):
        scores = X @ z[:size].reshape(3, 2).T
        return (z[size:, None] - delta[labels] - scores + scores[np.arange(n), labels][:, None]).ravel()

    solution = minimize(
        lambda z: z[size:].mean() + lam / 2 * (z[:size] ** 2).sum(),
        np.r_[np.zeros(size), np.full(n, 3.0)],
        constraints={"type": "ineq", "fun": slack},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-10},
    )
    assert solution.success
    W = classifiers(fit(training, loss="structured", lam=lam), training)
    assert solution.fun - 1e-6 <= objective("structured", W, training, lam) <= solution.fun + 0.01 * np.log(3)
    expected = solution.x[:size].reshape(3, 2)
    np.testing.assert_allclose(W, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_near_the_solution_is_better(loss):
    training, lam = tiny_training(noise=1.0), 0.02
    W = classifiers(fit(training, loss=loss, lam=lam), training)
    rng, least = np.random.default_rng(0), objective(loss, W, training, lam)
    for size in (0.3, 0.1):
        for _ in range(20):
            step = rng.normal(size=W.shape)
            other = W + size * step * np.linalg.norm(W) / np.linalg.norm(step)
            assert objective(loss, other, training, lam) > least


def test_losses_against_a_plain_loop():
    rng = np.random.default_rng(0)
    scores, labels, delta = rng.normal(size=(40, 5)), rng.integers(0, 5, 40), rng.random((5, 5)) + 0.5
    np.fill_diagonal(delta, 0)
    squared = hinge = 0.0
    for row, y in zip(scores, labels, strict=True):
        squared += sum(max(0, 1 - (1 if c == y else -1) * row[c]) ** 2 for c in range(5)) / 40
        hinge += max(delta[y, c] + row[c] - row[y] for c in range(5)) / 40
    given, classes = torch.tensor(scores), torch.tensor(labels)
    assert one_vs_other_loss(given, classes).item() == pytest.approx(squared)
    assert hinge <= best_wrong_loss(given, classes, torch.tensor(delta)).item() <= hinge + 0.01 * np.log(5)


def test_a_large_weight_of_the_penalty_gives_the_gradient_at_zero():
    """Where it is known: of one-vs-other -2 (sum of the class's features - that of the others) / n."""
    training, lam = tiny_training(), 1e4
    X = training.features.astype(float)
    signs = np.where(training.labels[:, None] == np.arange(len(training.classes)), 1, -1)
    expected = 2 * signs.T @ X / len(X) / lam
    np.testing.assert_allclose(
        classifiers(fit(training, loss="one-vs-other", lam=lam), training), expected, rtol=5e-3, atol=1e-7
    )


def test_synthesis_against_a_plain_loop():
    data, scale = tiny_dataset(), 0.7
    training = data.training_set()
    method = fit(training, scale=scale, lam=0.1)
    phantoms, median = placed(training)

    def similarities(vector):
        weights = np.array([np.exp(-scale * ((vector / median - phantom) ** 2).sum()) for phantom in phantoms])
        return weights / weights.sum()

    S = np.array([similarities(vector) for vector in unit(training.classes.vectors)])
    V = np.linalg.solve(S, classifiers(method, training))
    for candidate, scores in zip(unit(data.classes.vectors), method.scores(data.features, data.classes).T, strict=True):
        w = sum(similarity * v for similarity, v in zip(similarities(candidate), V, strict=True))
        np.testing.assert_allclose(scores, data.features @ w, rtol=1e-3, atol=1e-4)


def test_a_class_far_from_all_others_takes_after_the_nearest():
    data = tiny_dataset()
    method = fit(data.training_set(), scale=1e4, lam=0.1)
    vectors, seen = unit(data.classes.vectors), data.classes[data.seen]
    nearest = (vectors[data.unseen] @ vectors[data.seen].T).argmax(axis=1)
    unseen = method.scores(data.features, data.classes[data.unseen])
    np.testing.assert_allclose(unseen, method.scores(data.features, seen)[:, nearest], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [2.0**-5, 2.0**5])
def test_scale_does_not_matter_to_seen_classes(scale):
    data = tiny_dataset()
    seen = data.classes[data.seen]
    one, other = (fit(data.training_set(), scale=each, lam=0.1).scores(data.features, seen) for each in (1.0, scale))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_one_training_serves_every_scale(monkeypatch):
    training, trained = tiny_training(), []
    train = SYNC._train
    monkeypatch.setattr(SYNC, "_train", lambda self, *given: trained.append(self) or train(self, *given))
    variants = [
        SYNC(loss=loss, lam=lam, scale=scale, device="cpu")
        for scale in (0.1, 1.0, 10.0)
        for lam in (0.1, 0.3)
        for loss in ("one-vs-other", "structured")
    ]
    fitted = list(SYNC.fit_each(variants, training))
    assert len(trained) == 4
    assert sorted(map(id, fitted)) == sorted(map(id, variants))
    for variant in fitted:
        alone = variant.unfitted().fit(training)
        np.testing.assert_allclose(
            variant.scores(training.features, training.classes),
            alone.scores(training.features, training.classes),
            rtol=1e-5,
            atol=1e-6,
        )


def test_classes_that_share_an_embedding():
    plain = tiny_dataset()
    vectors = plain.classes.vectors.copy()
    vectors[plain.seen[1]] = vectors[plain.seen[0]]
    data = tiny_dataset(classes=ClassEmbeddings(plain.classes.names, vectors))
    scores = fit(data.training_set(), lam=0.1).scores(data.features, data.classes)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:, data.seen[0]], scores[:, data.seen[1]], rtol=1e-6)


def test_a_problem_that_has_no_one_solution():
    with pytest.raises(InputError) as caught:
        fit(tiny_training(), lam=0.0)
    assert str(caught.value) == "lam must be more than 0; got 0"


def test_progress_counts_evaluations():
    seen = []
    SYNC(steps=20, device="cpu").fit(tiny_training(), FitControls(progress=lambda *report: seen.append(report)))
    assert [done for done, _, _ in seen] == list(range(1, 21))
    assert seen[-1][2]["loss"] < seen[0][2]["loss"]


@pytest.mark.parametrize("loss", LOSSES)
def test_blocks_of_images_add_up(loss, monkeypatch):
    training = tiny_training(noise=1.0)
    whole = classifiers(fit(training, loss=loss, lam=0.1), training)
    monkeypatch.setattr(sync, "BLOCK", 7)
    np.testing.assert_allclose(classifiers(fit(training, loss=loss, lam=0.1), training), whole, rtol=1e-3, atol=1e-3)


def test_nothing_is_made_that_grows_with_images_and_classes(monkeypatch):
    """As many numbers as there are images times classes would be more than the features where classes are many."""
    monkeypatch.setattr(sync, "BLOCK", 16)
    monkeypatch.setattr(sync, "HISTORY", 1)
    training = tiny_training(n_seen=20, per_class=50, v=3)  # 800 images
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            made = operation(*args, **(kwargs or {}))
            sizes.extend(
                tensor.untyped_storage().nbytes() // 4 for tensor in tree_iter(made) if torch.is_tensor(tensor)
            )
            return made

    method = SYNC(steps=10, device="cpu")
    tensors = method._prepared(training)
    method._place_phantoms(tensors.vectors)
    with Sizes():
        method._train(tensors, FitControls())
    assert max(sizes) == tensors.features.numel() < 800 * 20  # views of the features
