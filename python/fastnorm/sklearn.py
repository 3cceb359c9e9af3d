"""Multi-layer perceptrons for scikit-learn: its parameters and attributes, fastnorm's numerics.

They are scikit-learn's own estimators: validation, initial weights, shuffling, stopping and scoring are
inherited, and a model fitted by one kind can be compared with the other batch by batch. What runs in fastnorm
is a whole epoch of training, the loss and its gradient for L-BFGS, and prediction. Beyond scikit-learn there
are all activations of `fastnorm.linear` and, for the classifier, the losses ``'poly'`` and ``'focal'``.
"""

from __future__ import annotations

import functools
import re
import sys
import warnings
from numbers import Real
from typing import Any, ClassVar, get_args

import numpy as np

try:
    from sklearn import __version__ as _installed
except ImportError as error:
    raise ImportError("fastnorm.sklearn needs scikit-learn: pip install fastnorm-kernels[sklearn]") from error
# Methods that are scikit-learn's own business are replaced below: tests/test_sklearn.py lists them.
if not re.match(r"1\.[789]\b", _installed):
    raise ImportError(
        f"fastnorm.sklearn: scikit-learn is {_installed}, needs 1.7 to 1.9: "
        "pip install fastnorm-kernels[sklearn]"
    )
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as _Classifier
from sklearn.neural_network import MLPRegressor as _Regressor
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import validate_data

from ._arguments.rules import plain
from ._typing import Array, DenseActivation
from .mlp import mlp_forward, mlp_gradients, mlp_train
from .optim import SGD, Adam
from .softmax import softmax

__all__ = ["MLPClassifier", "MLPRegressor"]

ACTIVATIONS: dict[str, DenseActivation | None]
ACTIVATIONS = {"identity": None, "logistic": "sigmoid"}
ACTIVATIONS |= {name: name for name in get_args(DenseActivation) if name != "sigmoid"}


DROPOUT = Interval(Real, 0, 1, closed="left")


class _Adam(Adam):
    """scikit-learn's Adam: eps stands beside sqrt(v), which is not corrected."""

    _corrected_eps = False


class _SGD(SGD):
    """scikit-learn's SGD, which keeps its schedule whatever becomes of the estimator's parameters."""

    schedule = "constant"
    first_rate = 0.0
    power = 0.0


class _Network:
    """What both estimators replace of scikit-learn's."""

    coefs_: list[Array]
    intercepts_: list[Array]

    # ---- what is computed

    def _validate_input(self: Any, X: Any, y: Any, incremental: bool, reset: bool) -> Any:
        # Before a fitted estimator loses what it has.
        if self.solver == "lbfgs" and getattr(self, "dropout", 0.0):
            raise ValueError(f"fit: dropout is {self.dropout}, needs 0 with solver 'lbfgs'")
        return super()._validate_input(X, y, incremental, reset)  # type: ignore[misc]

    def _loss_name(self) -> str:
        raise NotImplementedError

    def _loss_option(self) -> float | None:
        return None

    def _weighed(self: Any, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        """Return the weights of the rows, classes included."""
        return sample_weight

    def _targets(self: Any, y: Array, X: Array) -> Array:
        """Return targets as fastnorm takes them: classes for a softmax, else numbers of X's dtype."""
        if self._loss_name() in ("cross_entropy", "poly", "focal"):
            return np.asarray(np.argmax(y, axis=1), np.int64)
        if y.dtype.kind not in "biuf":
            raise TypeError(f"fit: y has dtype {y.dtype}, needs numbers")
        return np.ascontiguousarray(y, X.dtype)

    def _forward_pass_fast(self: Any, X: Any, check_input: bool = True) -> Array:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        X = dense(X, self.coefs_[0].dtype)
        z: Array = mlp_forward(
            X, self.coefs_, self.intercepts_, activation=ACTIVATIONS[self.activation], output_activation=None
        )
        if self.out_activation_ == "logistic":
            # sigmoid(z) = softmax of (z, 0)
            z = np.asarray(softmax(np.stack([z, np.zeros_like(z)]), axis=0)[0])
        elif self.out_activation_ == "softmax":
            z = softmax(z)
        elif self.out_activation_ == "exp":
            z = np.exp(z)
        return z

    def _loss_grad_lbfgs(
        self: Any, packed_coef_inter: Array, X: Array, y: Array, sample_weight: Array | None, *_: Any
    ) -> tuple[float, Array]:
        """Return loss and gradient for L-BFGS, in float64."""
        # Of arrays that belong to this call: coefs_ is the user's, who may change it meanwhile.
        packed = packed_coef_inter.astype(X.dtype, copy=False)
        coefs = [packed[begin:end].reshape(shape) for begin, end, shape in self._coef_indptr]
        intercepts = [packed[begin:end] for begin, end in self._intercept_indptr]
        loss: float
        dcoefs: Any
        dintercepts: Any
        loss, dcoefs, dintercepts = mlp_gradients(
            X,
            y,
            sample_weight,
            coefs,
            intercepts,
            ACTIVATIONS[self.activation],
            None,
            self._loss_name(),
            float(self.alpha),
            self._loss_option(),
        )
        gradient: Array = np.concatenate([part.ravel() for part in (*dcoefs, *dintercepts)], dtype=np.float64)
        if gradient.size != packed_coef_inter.size:  # the optimiser would write as many as it has
            raise ValueError("fit: the estimator has been fitted anew meanwhile, needs one fit at a time")
        return loss, gradient

    def _fit_lbfgs(self: Any, X: Any, y: Array, sample_weight: Array | None, *rest: Any) -> None:
        X = dense(X, self.coefs_[0].dtype)
        sample_weight = self._weighed(y, sample_weight, False)
        super()._fit_lbfgs(X, self._targets(y, X), weights_of(sample_weight), *rest)  # type: ignore[misc]
        self.coefs_ = [coef.astype(X.dtype) for coef in self.coefs_]
        self.intercepts_ = [intercept.astype(X.dtype) for intercept in self.intercepts_]

    def _make_optimizer(self: Any) -> SGD | Adam:
        if self.solver == "adam":
            return _Adam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)
        momentum = float(self.momentum)
        nesterov = bool(self.nesterovs_momentum) and momentum > 0
        sgd = _SGD(self.learning_rate_init, momentum, nesterov=nesterov)
        sgd.schedule, sgd.first_rate, sgd.power = self.learning_rate, sgd.lr, float(self.power_t)
        return sgd

    def _set_learning_rate(self: Any, lr: float) -> None:
        """Change the rate of SGD. scikit-learn's velocities contain the rate they were made with."""
        optimizer = self._optimizer
        # A rate that is nothing beside the first one: velocities made with it could not be held.
        lr = max(lr, optimizer.first_rate * 1e-20, sys.float_info.min)
        for velocity in optimizer._state.get("velocity", ()):
            np.multiply(velocity, optimizer.lr / lr, out=velocity)
        optimizer.lr = lr

    # ---- how it is driven: scikit-learn's loop, an epoch at a time

    def _fit_stochastic(
        self: Any,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: Any,
        intercept_grads: Any,
        layer_units: Any,
        incremental: bool,
    ) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._make_optimizer()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        sample_weight = self._weighed(y, sample_weight, incremental)
        X_val = y_val = sample_weight_val = None
        if self.early_stopping:
            stratify = y if hasattr(self, "_label_binarizer") and self.n_outputs_ == 1 else None
            arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
            parts = train_test_split(
                *arrays,
                random_state=self._random_state,
                test_size=self.validation_fraction,
                stratify=stratify,
            )
            X, X_val, y, y_val = parts[:4]
            if sample_weight is not None:
                sample_weight, sample_weight_val = parts[4:]
            if X_val.shape[0] < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size of your "
                    "dataset."
                )
            if hasattr(self, "_label_binarizer"):
                y_val = self._label_binarizer.inverse_transform(y_val)
        X = dense(X, self.coefs_[0].dtype)
        target, share = self._targets(y, X), weights_of(sample_weight)

        n_samples = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, n_samples)
        else:
            if self.batch_size > n_samples:
                warnings.warn(
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                    stacklevel=4,
                )
            batch_size = int(np.clip(self.batch_size, 1, n_samples))

        # Trained in place.
        self.coefs_ = [plain(coef, writeable=True) for coef in self.coefs_]
        self.intercepts_ = [plain(intercept, writeable=True) for intercept in self.intercepts_]
        coefs, intercepts = tuple(self.coefs_), tuple(self.intercepts_)
        parameters = (*coefs, *intercepts)

        train = functools.partial(
            mlp_train,
            X,
            target,
            share,
            coefs,
            intercepts,
            ACTIVATIONS[self.activation],
            None,
            self._loss_name(),
            float(self.alpha),
            option=self._loss_option(),
        )
        sample_idx = np.arange(n_samples, dtype=np.int64)
        dropout = float(getattr(self, "dropout", 0.0))
        # Counted on by the rows that were seen, as each partial_fit begins with the same random state.
        masks = int(self._random_state.randint(2**62, dtype=np.int64)) if dropout else 0
        try:
            self.n_iter_ = 0
            for _ in range(self.max_iter):
                if self.shuffle:
                    sample_idx = shuffled(sample_idx, self._random_state)
                rule = self._optimizer._rule_for(parameters)
                dropped = (dropout, masks + int(self.t_)) if dropout else None
                order = sample_idx if self.shuffle else None
                self.loss_ = train(rule, order, batch_size, dropout=dropped)
                self.n_iter_ += 1
                self.t_ += n_samples
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                self._update_no_improvement_count(self.early_stopping, X_val, y_val, sample_weight_val)
                sgd = self._optimizer
                if isinstance(sgd, _SGD) and sgd.schedule == "invscaling":
                    self._set_learning_rate(sgd.first_rate / (self.t_ + 1) ** sgd.power)
                if self._no_improvement_count > self.n_iter_no_change:
                    if self._is_stopping():
                        break
                    self._no_improvement_count = 0
                if incremental:
                    break
                if self.n_iter_ == self.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                        f"optimization "
                        "hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=4,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _is_stopping(self: Any) -> bool:
        """Tell whether training ends; an adaptive rate is divided by 5 first, until it is tiny."""
        what = "Validation score" if self.early_stopping else "Training loss"
        epochs = f"{self.n_iter_no_change} consecutive epochs"
        message = f"{what} did not improve more than tol={self.tol:f} for {epochs}."
        if isinstance(self._optimizer, _SGD) and self._optimizer.schedule == "adaptive":
            if self._optimizer.lr > 1e-6:
                self._set_learning_rate(self._optimizer.lr / 5.0)
                if self.verbose:
                    print(f"{message} Setting learning rate to {self._optimizer.lr:f}")
                return False
            message += " Learning rate too small."
        if self.verbose:
            print(f"{message} Stopping.")
        return True


class MLPRegressor(_Network, _Regressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor` with fastnorm's numerics.

    All parameters and attributes are those of `sklearn.neural_network.MLPRegressor`, for all solvers
    (``'adam'``, ``'sgd'``, ``'lbfgs'``); `activation` may also be another one of `fastnorm.linear`, and
    `loss` also ``'l1'``, ``'huber'`` (quadratic in errors up to 1) or ``'smooth_l1'``, means over the
    outputs: losses that single wild values of y pull less at. Sparse X is made dense.

    Parameters
    ----------
    dropout : float, default 0.0
        Share of what hidden layers give that steps of training drop, as `fastnorm.MLP` has it; not with
        ``'lbfgs'``.
    **parameters
        Those of scikit-learn's regressor.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnorm.sklearn import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=5, random_state=0)
    >>> model = MLPRegressor(hidden_layer_sizes=(32,), max_iter=500, learning_rate_init=0.01, random_state=0)
    >>> bool(model.fit(X, y / y.std()).score(X, y / y.std()) > 0.99)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Regressor._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions({"squared_error", "poisson", "l1", "huber", "smooth_l1"})],
        "dropout": [DROPOUT],
    }

    def __init__(  # type: ignore[no-untyped-def]  # scikit-learn reads the parameters off this signature
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        dropout=0.0,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
    ):
        """Keep the parameters as they are; `fit` checks them."""
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.dropout = dropout

    def _loss_name(self) -> str:
        return getattr(self, "loss", "squared_error")


class MLPClassifier(_Network, _Classifier):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier` with fastnorm's numerics and losses.

    All parameters and attributes are those of `sklearn.neural_network.MLPClassifier`; `activation` may also
    be another one of `fastnorm.linear`. Sparse X is made dense.

    Parameters
    ----------
    loss : {'log_loss', 'poly', 'focal'}, default 'log_loss'
        What is minimised: the cross entropy ``-log p`` of the class; Poly-1, ``-log p + poly_epsilon * (1 -
        p)``; or the focal loss ``-(1 - p)**focal_gamma * log p``. With one or several binary outputs p is
        that of each.
    poly_epsilon : float, default 1.0
    focal_gamma : float, default 2.0
    class_weight : dict, list of dict, 'balanced' or None, default None
        As scikit-learn's other classifiers have it: what the weights of the rows of each class are multiplied
        by. ``partial_fit`` sees one part of the data, and so takes no ``'balanced'``.
    dropout : float, default 0.0
        Share of what hidden layers give that steps of training drop, as `fastnorm.MLP` has it; not with
        ``'lbfgs'``.
    **parameters
        Those of scikit-learn's classifier.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastnorm.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(loss="focal", max_iter=300, learning_rate_init=0.01, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.95)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Classifier._parameter_constraints,
        "activation": [StrOptions(set(ACTIVATIONS))],
        "loss": [StrOptions({"log_loss", "poly", "focal"})],
        "poly_epsilon": [Interval(Real, None, None, closed="neither")],
        "focal_gamma": [Interval(Real, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "dropout": [DROPOUT],
    }

    def __init__(  # type: ignore[no-untyped-def]  # scikit-learn reads the parameters off this signature
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        loss="log_loss",
        poly_epsilon=1.0,
        focal_gamma=2.0,
        class_weight=None,
        dropout=0.0,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
    ):
        """Keep the parameters as they are; `fit` checks them."""
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
        )
        self.loss = loss
        self.poly_epsilon = poly_epsilon
        self.focal_gamma = focal_gamma
        self.class_weight = class_weight
        self.dropout = dropout

    def _weighed(self: Any, y: Array, sample_weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "partial_fit: class_weight is 'balanced', needs a dict: it sees a part of the data"
            )
        labels = self._label_binarizer.inverse_transform(y)
        by_class: Array = compute_sample_weight(self.class_weight, labels)
        return by_class if sample_weight is None else sample_weight * by_class

    def _loss_name(self: Any) -> str:
        prefix = "" if self.out_activation_ == "softmax" else "binary_"
        return prefix + ("cross_entropy" if self.loss == "log_loss" else self.loss)

    def _loss_option(self: Any) -> float | None:
        return {"poly": float(self.poly_epsilon), "focal": float(self.focal_gamma)}.get(self.loss)


def shuffled(indices: Array, source: np.random.RandomState) -> Array:
    """Return what scikit-learn's `shuffle` does; its checks take longer than the epoch of a small network."""
    places = np.arange(len(indices))
    source.shuffle(places)
    shuffled_indices: Array = indices[places]
    return shuffled_indices


def dense(X: Any, dtype: np.dtype[Any]) -> Array:
    """Return X as an array of the parameters' dtype."""
    if hasattr(X, "toarray"):
        X = X.toarray()
    return np.asarray(X, dtype)


def weights_of(sample_weight: Array | None) -> Array | None:
    """Return the weights of the rows in float64; their sum has an inverse."""
    if sample_weight is None:
        return None
    weights = plain(np.asarray(sample_weight, np.float64))
    with np.errstate(all="ignore"):
        total = np.sum(weights)
        usable = np.isfinite(total) and np.isfinite(1 / total)
    if not usable:
        raise ValueError(f"fit: sample_weight sums to {total}, needs a finite sum other than 0")
    return weights
