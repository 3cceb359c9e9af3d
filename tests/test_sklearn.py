"""The estimators against scikit-learn's own checks, its estimators, and what they have beyond those."""

from __future__ import annotations

import inspect
import math
import pickle
import warnings
from pathlib import Path
from typing import Any, get_args

import fastnorm
import numpy as np
import pytest

pytest.importorskip("sklearn")

from fastnorm._typing import DenseActivation
from fastnorm.sklearn import MLPClassifier, MLPRegressor
from processes import run, succeeds
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris, make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

pytestmark = pytest.mark.filterwarnings("ignore:.*hasn't converged yet", "ignore:lbfgs failed to converge")


# The private methods that the estimators replace, and those that they call, with their arguments.
REPLACED = {
    "_fit_lbfgs": "X y sample_weight activations deltas coef_grads intercept_grads layer_units",
    "_fit_stochastic": (
        "X y sample_weight activations deltas coef_grads intercept_grads layer_units incremental"
    ),
    "_forward_pass_fast": "X check_input",
    "_validate_input": "X y incremental reset",
    "_loss_grad_lbfgs": ("packed_coef_inter X y sample_weight activations deltas coef_grads intercept_grads"),
}
CALLED = {"_unpack": "packed_parameters", "_update_no_improvement_count": "early_stopping X y sample_weight"}


@pytest.mark.parametrize("ours", [MLPRegressor, MLPClassifier])
def test_private_methods(ours: type) -> None:
    """What is replaced is there to be replaced, takes the same arguments, and nothing else is replaced."""
    theirs: Any = getattr(neural_network, ours.__name__)
    for name, arguments in (REPLACED | CALLED).items():
        parameters = inspect.signature(getattr(theirs, name)).parameters
        assert " ".join(parameters) == f"self {arguments}", name
    for name, arguments in REPLACED.items():
        inspect.signature(getattr(ours, name)).bind("self", *arguments.split())
    private = {
        name
        for cls in ours.__mro__[: ours.__mro__.index(theirs)]
        for name, value in vars(cls).items()
        if name.startswith("_") and not name.startswith("__") and callable(value)
    }
    assert {name for name in private if hasattr(theirs, name)} == set(REPLACED)


@pytest.mark.parametrize("version", ["1.6.1", "0.24.2", "1.10.0", "1.10.dev0", "2.0.0", "1.70.0"])
def test_other_versions(version: str) -> None:
    done = run(f"import sklearn; sklearn.__version__ = {version!r}; import fastnorm.sklearn")
    assert f"ImportError: fastnorm.sklearn: scikit-learn is {version}, needs 1.7 to 1.9" in done.stderr


def test_the_extra_asks_for_these_versions() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"scikit-learn>=1.7,<1.10"' in text


# Few iterations: the checks are about behaviour, not about fits.
@parametrize_with_checks([MLPRegressor(max_iter=20), MLPClassifier(max_iter=20)])
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def regression() -> tuple[Any, Any]:
    X, y = load_diabetes(return_X_y=True)
    return scale(X), scale(y)


SAME: list[tuple[str, dict[str, Any]]] = [
    ("regressor", {}),
    ("regressor", {"activation": "tanh", "hidden_layer_sizes": (20, 10), "alpha": 0.1}),
    ("regressor", {"activation": "logistic", "early_stopping": True}),
    ("regressor", {"activation": "identity", "shuffle": False, "batch_size": 64}),
    ("regressor", {"solver": "sgd"}),
    ("regressor", {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False}),
    ("regressor", {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2}),
    ("regressor", {"solver": "sgd", "momentum": 0.0}),
    ("regressor", {"solver": "lbfgs"}),
    ("regressor", {"loss": "poisson"}),
    ("classifier", {}),
    ("classifier", {"solver": "lbfgs", "activation": "logistic"}),
    ("classifier", {"early_stopping": True, "solver": "sgd", "learning_rate_init": 0.05}),
    ("binary", {}),
    ("multilabel", {}),
]


def data_of(kind: str) -> tuple[Any, Any]:
    if kind == "regressor":
        return regression()
    if kind == "classifier":
        X, y = load_iris(return_X_y=True)
        return scale(X), y
    if kind == "binary":
        X, y = make_classification(200, random_state=0)
        return X, np.array(["no", "yes"])[y]
    return make_multilabel_classification(150, random_state=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "parameters"), SAME, ids=str)
def test_same_as_scikit_learn(kind: str, parameters: dict[str, Any], weighted: bool, backend: str) -> None:
    """The same batches, so the same loss curve, weights and predictions, to rounding."""
    X, y = data_of(kind)
    if parameters.get("loss") == "poisson":
        y = np.exp(y / 2)
    names = ("MLPRegressor",) * 2 if kind == "regressor" else ("MLPClassifier",) * 2
    settings = {"max_iter": 12, "random_state": 3, **parameters}
    share = np.random.default_rng(0).random(len(X)) + 0.1 if weighted else None
    ours = {"MLPRegressor": MLPRegressor, "MLPClassifier": MLPClassifier}[names[0]](**settings)
    theirs = getattr(neural_network, names[1])(**settings)
    ours.fit(X, y, sample_weight=share)
    theirs.fit(X, y, sample_weight=share)
    assert ours.n_iter_ == theirs.n_iter_
    if ours.solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-7)
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert mine.shape == other.shape
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    for method in ("predict", "predict_proba", "score"):
        if not hasattr(theirs, method):
            continue
        arguments = (X, y) if method == "score" else (X,)
        mine, other = getattr(ours, method)(*arguments), getattr(theirs, method)(*arguments)
        if np.asarray(other).dtype.kind == "f":
            np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)
        else:
            np.testing.assert_array_equal(mine, other)
    assert {name for name in vars(theirs) if name.endswith("_")} <= set(vars(ours))


@pytest.mark.parametrize("activation", sorted(set(get_args(DenseActivation)) - {"relu", "sigmoid", "tanh"}))
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_activations_beyond(activation: str, solver: str, backend: str) -> None:
    X, y = regression()
    model = MLPRegressor(
        hidden_layer_sizes=(16,),
        activation=activation,
        solver=solver,
        max_iter=60,
        learning_rate_init=0.01,
        random_state=0,
    )
    assert model.fit(X, y).score(X, y) > 0.45


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("loss", ["l1", "huber", "smooth_l1"])
def test_losses_that_wild_values_pull_less_at(loss: str, solver: str, backend: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 1))
    y = 3 * X[:, 0]
    wild = y.copy()
    wild[::10] += 40
    settings: dict[str, Any] = {"hidden_layer_sizes": (8,), "activation": "identity", "solver": solver}
    settings |= {"learning_rate_init": 0.02, "max_iter": 400, "random_state": 0}
    robust, squared = (MLPRegressor(loss=name, **settings) for name in (loss, "squared_error"))
    errors = [np.abs(model.fit(X, wild).predict(X) - y).mean() for model in (robust, squared)]
    assert errors[0] < 0.5
    assert errors[1] > 2


@pytest.mark.parametrize("loss", ["log_loss", "poly", "focal"])
@pytest.mark.parametrize("kind", ["classifier", "binary", "multilabel"])
def test_losses_beyond(loss: str, kind: str, backend: str) -> None:
    X, y = data_of(kind)
    model = MLPClassifier((32,), loss=loss, max_iter=60, learning_rate_init=0.02, random_state=0)
    # Multilabel: all five labels of a row are right, 1 in 32 by chance.
    assert model.fit(X, y).score(X, y) > (0.4 if kind == "multilabel" else 0.9)
    np.testing.assert_allclose(
        model.fit(X, y).predict_proba(X).sum(axis=1), 1
    ) if kind != "multilabel" else None


def test_focal_without_gamma_and_poly_without_epsilon_are_the_log_loss(backend: str) -> None:
    X, y = data_of("classifier")
    models = [
        MLPClassifier(max_iter=5, random_state=0, **extra)
        for extra in ({}, {"loss": "focal", "focal_gamma": 0.0}, {"loss": "poly", "poly_epsilon": 0.0})
    ]
    curves = [model.fit(X, y).loss_curve_ for model in models]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-10)
    np.testing.assert_allclose(curves[2], curves[0], rtol=1e-10)


def test_float32(backend: str) -> None:
    X, y = regression()
    for solver in ("adam", "lbfgs"):
        model = MLPRegressor(max_iter=10, random_state=0, solver=solver).fit(
            X.astype(np.float32), y.astype(np.float32)
        )
        assert {array.dtype for array in (*model.coefs_, *model.intercepts_)} == {np.dtype(np.float32)}
        assert model.predict(X.astype(np.float32)).dtype == np.float32


def test_partial_fit_and_warm_start_go_on(backend: str) -> None:
    X, y = regression()
    parts, theirs = (kind(random_state=0) for kind in (MLPRegressor, neural_network.MLPRegressor))
    for _ in range(4):
        parts.partial_fit(X, y)
        theirs.partial_fit(X, y)
    np.testing.assert_allclose(parts.loss_curve_, theirs.loss_curve_, rtol=1e-7)
    again = pickle.loads(pickle.dumps(parts))
    np.testing.assert_array_equal(again.partial_fit(X, y).predict(X), parts.partial_fit(X, y).predict(X))
    warm = MLPRegressor(random_state=0, max_iter=2, warm_start=True)
    assert warm.fit(X, y).fit(X, y).t_ == 4 * len(X)


def test_in_pipelines_and_searches() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), MLPClassifier((16,), max_iter=30, learning_rate_init=0.02, random_state=0)
    )
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.85
    search = GridSearchCV(
        pipeline, {"mlpclassifier__loss": ["poly", "focal"], "mlpclassifier__focal_gamma": [1.0]}, cv=2
    )
    assert search.fit(X, y).best_score_ > 0.8
    assert clone(search.best_estimator_).get_params()["mlpclassifier__focal_gamma"] == 1.0


def test_bad_parameters() -> None:
    X, y = regression()
    for bad in ({"activation": "selu"}, {"learning_rate_init": float("nan")}, {"solver": "rmsprop"}):
        with pytest.raises(ValueError, match="must be"):
            MLPRegressor(**bad).fit(X, y)
    with pytest.raises(ValueError, match="NaN"):
        MLPRegressor().fit(X, np.where(y > 2, np.nan, y))
    for bad in ({"loss": "hinge"}, {"focal_gamma": -1.0}):
        with pytest.raises(ValueError, match="must be"):
            MLPClassifier(**bad).fit(X, y > 0)


def test_sparse(backend: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X, y = regression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense, other = (
            MLPRegressor(max_iter=3, random_state=0).fit(kind(X), y)
            for kind in (np.asarray, sparse.csr_matrix)
        )
    np.testing.assert_array_equal(dense.predict(X), other.predict(sparse.csr_matrix(X)))
    assert fastnorm.get_backend() == backend


def weighted_data(kind: str) -> tuple[Any, Any, Any]:
    """Rows whose first half has no weight."""
    X, y = data_of(kind)
    X, y = X[::2][:60], y[::2][:60]
    share = np.ones(60)
    share[:30] = 0
    return X, y, share


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["regressor", "binary"])
def test_batches_without_weight_teach_nothing(kind: str, solver: str, backend: str) -> None:
    """A fit is that of the other rows alone; so are those of partial_fit."""
    X, y, share = weighted_data(kind)
    make = MLPRegressor if kind == "regressor" else MLPClassifier
    parameters: dict[str, Any] = {"hidden_layer_sizes": (8,), "shuffle": False, "batch_size": 10}
    parameters |= {"max_iter": 4, "random_state": 0, "solver": solver}
    weighted, alone = (
        make(**parameters).fit(X, y, sample_weight=share),
        make(**parameters).fit(X[30:], y[30:]),
    )
    pairs = [(weighted, alone)]
    parts = [make(**parameters), make(**parameters)]
    more = {} if kind == "regressor" else {"classes": np.unique(y)}
    for _ in range(3):
        parts[0].partial_fit(X, y, sample_weight=share, **more)
        parts[1].partial_fit(X[30:], y[30:], sample_weight=np.ones(30), **more)
    pairs.append((parts[0], parts[1]))
    for one, two in pairs:
        np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, rtol=1e-12)
        for got, wanted in zip(one.coefs_, two.coefs_, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("kind", ["regressor", "binary", "classifier", "multilabel"])
def test_weights_of_0_give_no_nan(kind: str, solver: str, backend: str) -> None:
    X, y, share = weighted_data(kind)
    if y.dtype.kind == "U":  # with such classes scikit-learn 1.7.0 cannot stop early
        y = np.unique(y, return_inverse=True)[1]
    make = MLPRegressor if kind == "regressor" else MLPClassifier
    for early_stopping in (False, True):
        stopping = early_stopping and solver != "lbfgs"
        # Shuffled, so that the validation set has some weight, in batches of which some have none.
        model = make(
            hidden_layer_sizes=(8,),
            solver=solver,
            batch_size=2,
            max_iter=4,
            random_state=0,
            early_stopping=stopping,
        ).fit(X, y, sample_weight=share)
        assert np.isfinite(model.loss_)
        assert all(np.isfinite(array).all() for array in (*model.coefs_, *model.intercepts_))


@pytest.mark.parametrize("mode", [None, "r", "r+", "c"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_files_of_joblib_go_on(solver: str, mode: str | None, backend: str, tmp_path: Path) -> None:
    """Mapped or not, and without the training data."""
    joblib = pytest.importorskip("joblib")
    X, y = regression()
    model = MLPRegressor(hidden_layer_sizes=(200,), solver=solver, random_state=0, max_iter=3).fit(X, y)
    for _ in range(3):
        model.partial_fit(X, y)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model", mmap_mode=mode)
    for _ in range(2):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        again.partial_fit(X, y)
        model.partial_fit(X, y)
    parameters = sum(array.nbytes for array in (*model.coefs_, *model.intercepts_))
    assert len(pickle.dumps(model)) < 5 * parameters + 50_000


REPLACED_COEFS = """
import threading, time, warnings
import numpy as np
from fastnorm.sklearn import MLPRegressor
rng = np.random.default_rng(0)
X, y = rng.standard_normal((200, 6)), rng.standard_normal(200)
model, stop = MLPRegressor(hidden_layer_sizes=(30,), solver="SOLVER", max_iter=20), False
other = MLPRegressor(hidden_layer_sizes=(400, 30), solver="SOLVER", max_iter=1)
warnings.simplefilter("ignore")
other.fit(X, y)
def change():
    while not stop:
        model.coefs_, model.intercepts_ = list(other.coefs_), list(other.intercepts_)
        time.sleep(0)
        model._coef_indptr = getattr(other, "_coef_indptr", None)
        model._intercept_indptr = getattr(other, "_intercept_indptr", None)
thread = threading.Thread(target=change)
thread.start()
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        model.fit(X, y)
    except (ValueError, TypeError, AttributeError, IndexError):
        pass
stop = True
thread.join()
"""


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.usefixtures("native")
def test_coefficients_that_another_thread_replaces(solver: str) -> None:
    """Give an error or anything, never a crash."""
    succeeds(REPLACED_COEFS.replace("SOLVER", solver))


def test_unaligned_weights(backend: str) -> None:
    X, y = regression()
    share = np.linspace(0.5, 2, len(X)).astype(np.float32).astype(np.float64)
    shifted = np.zeros(share.nbytes + 1, np.uint8)[1:].view(np.float64)
    shifted[...] = share
    fits = [
        MLPRegressor(max_iter=2, random_state=0).fit(X, y, sample_weight=weights)
        for weights in (share, shifted, np.repeat(share, 2)[::2], share.astype(np.float32), list(share))
    ]
    for model in fits[1:]:
        np.testing.assert_array_equal(model.coefs_[0], fits[0].coefs_[0])


@pytest.mark.parametrize(("rate", "power", "dtype"), [(1e-300, 100.0, "f8"), (0.01, 20.0, "f4")])
def test_rates_that_vanish(rate: float, power: float, dtype: str, rng: np.random.Generator) -> None:
    X = rng.standard_normal((30, 2)).astype(dtype)
    settings = {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "learning_rate_init": rate,
        "power_t": power,
        "max_iter": 5,
        "hidden_layer_sizes": (3,),
        "random_state": 0,
    }
    losses = []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses.append(kind(**settings).fit(X, X[:, 0]).loss_)
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_targets_that_are_no_numbers(rng: np.random.Generator) -> None:
    X = rng.standard_normal((30, 2))
    for y in (["1.5"] * 30, np.zeros(30, "M8[s]")):
        with pytest.raises((TypeError, ValueError)):
            MLPRegressor(max_iter=2).fit(X, y)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_counts_below_zero(solver: str, rng: np.random.Generator) -> None:
    X = rng.standard_normal((30, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = MLPRegressor(loss="poisson", solver=solver, max_iter=1, random_state=0).fit(X, X[:, 0]).loss_
    assert math.isnan(loss)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("weights", [np.full(60, 1e308), np.full(60, 1e-323), np.tile([1.0, -1.0], 30)])
def test_weights_whose_sum_has_no_inverse(weights: Any, solver: str, rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 2))
    with pytest.raises(ValueError, match="weight"):
        MLPRegressor(solver=solver, max_iter=2).fit(X, X[:, 0], sample_weight=weights)


@pytest.mark.parametrize("changes", [{"learning_rate_init": 0.3, "power_t": 2.0}, {"solver": "adam"}])
@pytest.mark.parametrize("schedule", ["constant", "invscaling"])
def test_an_optimiser_keeps_its_schedule(schedule: str, changes: Any, rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 2))
    losses = []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        model = kind(solver="sgd", learning_rate=schedule, random_state=0, hidden_layer_sizes=(8,))
        for _ in range(3):
            model.partial_fit(X, X[:, 0])
        model.set_params(**changes)
        for _ in range(3):
            model.partial_fit(X, X[:, 0])
        losses.append(model.loss_curve_)
    np.testing.assert_allclose(*losses, rtol=1e-9)


def test_what_is_said_of_stopping(capsys: pytest.CaptureFixture[str], rng: np.random.Generator) -> None:
    X = rng.standard_normal((60, 2))
    said = []
    for kind in (MLPRegressor, neural_network.MLPRegressor):
        kind(verbose=True, tol=10.0, n_iter_no_change=1, random_state=0).fit(X, X[:, 0])
        said.append(capsys.readouterr().out.splitlines()[-1])
    assert said[0] == said[1]


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("given", ["balanced", {0: 3.0, 2: 0.25}], ids=str)
def test_weights_of_classes(given: Any, solver: str, backend: str) -> None:
    """They multiply the weights of the rows; early stopping holds out by them."""
    X, y = load_iris(return_X_y=True)
    X, y = X[:120], y[:120]  # classes of other sizes
    weights = 120 / (3 * np.bincount(y)) if given == "balanced" else np.array([3.0, 1.0, 0.25])
    share = np.linspace(0.5, 2, 120)
    settings = {"hidden_layer_sizes": (8,), "max_iter": 10, "solver": solver, "random_state": 0}
    for early in (False, True):
        settings["early_stopping"] = early and solver != "lbfgs"
        model = MLPClassifier(**settings, class_weight=given).fit(X, y, share)
        wanted = MLPClassifier(**settings).fit(X, y, share * weights[y])
        for one, other in zip(model.coefs_, wanted.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)
    if solver != "lbfgs":
        model = MLPClassifier(**{**settings, "early_stopping": False}, class_weight="balanced")
        with pytest.raises(ValueError, match="partial_fit: class_weight is 'balanced', needs"):
            model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight"):
        MLPClassifier(class_weight="even").fit(X, y)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_dropout(kind: type, backend: str, rng: np.random.Generator) -> None:
    """The same model from the same random state, another one without; and going on takes other masks."""
    X = rng.standard_normal((80, 6))
    y = rng.integers(0, 3, 80) if kind is MLPClassifier else rng.standard_normal(80)

    def fitted(**parameters: Any) -> Any:
        given = {"hidden_layer_sizes": (20,), "max_iter": 4, "random_state": 3, "solver": "sgd"} | parameters
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return kind(**given).fit(X, y)

    one, same, none = fitted(dropout=0.5), fitted(dropout=0.5), fitted()
    assert one.loss_curve_ == same.loss_curve_ != none.loss_curve_
    np.testing.assert_array_equal(one.coefs_[0], same.coefs_[0])
    assert one.get_params()["dropout"] == 0.5
    still = kind(
        hidden_layer_sizes=(20,), random_state=3, solver="sgd", learning_rate_init=1e-300, dropout=0.5
    )
    classes = {"classes": np.arange(3)} if kind is MLPClassifier else {}
    for _ in range(4):
        still.partial_fit(X, y, **classes)
    assert len(set(still.loss_curve_)) == 4
    for bad in (1.0, -0.1, "half"):
        with pytest.raises(ValueError, match="dropout"):
            fitted(dropout=bad)
    with pytest.raises(ValueError, match=r"dropout is 0\.5, needs 0 with solver 'lbfgs'"):
        fitted(dropout=0.5, solver="lbfgs")
    kept = one.coefs_[0].copy()
    with pytest.raises(ValueError, match="lbfgs"):
        one.set_params(solver="lbfgs").fit(X, y)
    np.testing.assert_array_equal(one.coefs_[0], kept)
