"""A first training
================

Handwritten digits, learned twice: by a classifier with scikit-learn's interface, and by a network whose loop
is yours. It takes a few seconds and draws both loss curves::

    pip install fastnorm-kernels[sklearn,examples]
    python examples/first_training.py --epochs 40
"""

# %%
# What the program takes. Run without arguments it does what this page shows.

import argparse
from pathlib import Path

from support import SEED, check_picture, require, whole

parser = argparse.ArgumentParser(description="Learn handwritten digits in two ways and draw the losses.")
parser.add_argument("--epochs", type=whole(1), default=40, help="passes over the data (default: %(default)s)")
parser.add_argument(
    "--hidden", type=whole(1), default=64, help="size of the hidden layer (default: %(default)s)"
)
parser.add_argument("--seed", type=SEED, default=0, help="of weights and order (default: %(default)s)")
parser.add_argument(
    "--plot", type=Path, default=Path("first_training.png"), help="the picture (default: %(default)s)"
)
options = parser.parse_args()
check_picture(parser, options.plot)
require("sklearn", "matplotlib", extras="sklearn,examples")

# %%
# The data
# --------
# 1797 images of 8 x 8 pixels. Pixels get mean 0 and deviation 1 over all images; a quarter is kept for the
# test. fastnorm computes in the type of its arrays, here float32.

import fastnorm
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

pixels, labels = load_digits(return_X_y=True)
pixels = ((pixels - pixels.mean()) / pixels.std()).astype(np.float32)
x, x_test, y, y_test = train_test_split(pixels, labels, random_state=options.seed, stratify=labels)
print(f"{len(x)} images to learn from, {len(x_test)} to be tested on")

# %%
# With scikit-learn's interface
# -----------------------------
# ``MLPClassifier`` has the parameters of scikit-learn's. ``loss_curve_`` holds the loss of each epoch, with
# the penalty ``alpha`` in it. ``tol=0`` and ``n_iter_no_change`` keep it from stopping early.

import warnings

from fastnorm.sklearn import MLPClassifier
from sklearn.exceptions import ConvergenceWarning

classifier = MLPClassifier(
    hidden_layer_sizes=(options.hidden,),
    activation="gelu",
    batch_size=64,
    max_iter=options.epochs,
    tol=0,
    n_iter_no_change=options.epochs,
    random_state=options.seed,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is what was asked for
    classifier.fit(x, y)
classifier_right = classifier.score(x_test, y_test)
print(f"classifier: loss {classifier.loss_curve_[-1]:.4f}, right in the test {classifier_right:.1%}")

# %%
# With your own loop
# ------------------
# ``MLP`` holds the layers, ``step`` takes one batch: forward, loss, backward and the update of Adam in one
# call. Between steps the loop is free to do anything, here to test after each epoch.

network = fastnorm.MLP([x.shape[1], options.hidden, 10], activation="gelu", seed=options.seed)
adam = fastnorm.Adam(lr=1e-3)
rng = np.random.default_rng(options.seed)
losses, right = [], []
for _ in range(options.epochs):
    order = rng.permutation(len(x))
    batches = np.split(order, range(64, len(order), 64))
    values = [network.step(x[rows], y[rows], loss="cross_entropy", optimizer=adam) for rows in batches]
    losses.append(np.average(values, weights=[len(rows) for rows in batches]))
    right.append(float(np.mean(network.forward(x_test).argmax(axis=1) == y_test)))
print(f"own loop:   loss {losses[-1]:.4f}, right in the test {right[-1]:.1%}")

# %%
# The picture
# -----------

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

figure, (left_axes, right_axes) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
epochs = np.arange(1, options.epochs + 1)
left_axes.semilogy(epochs, losses, label="MLP, own loop")
left_axes.semilogy(epochs, classifier.loss_curve_, "--", label="MLPClassifier")
left_axes.set(xlabel="epoch", ylabel="loss")
left_axes.legend()
right_axes.plot(epochs, [100 * share for share in right], label="MLP, own loop")
right_axes.axhline(100 * classifier_right, color="C1", ls="--", label="MLPClassifier, at the end")
right_axes.set(xlabel="epoch", ylabel="right in the test (%)")
right_axes.legend()
for axes in (left_axes, right_axes):
    axes.grid(visible=True, alpha=0.3)
figure.savefig(options.plot)
print(f"drawn in {options.plot}")

# %%
# What to see: the losses lie close together, for it is the same network with the same loss; they differ by
# the first weights and the order of the batches. The test gains little after some fifteen epochs, while the
# loss goes on falling.

print("Left, both losses fall alike; right, the test gains little after some fifteen epochs.")
