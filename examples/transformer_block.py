"""A transformer block by hand
===========================

Forward and backward of a block with attention, gated dense layers and RMS norms, written with the ops of
fastnorm and checked against finite differences::

    pip install fastnorm-kernels[examples]
    python examples/transformer_block.py --tokens 6 --dim 16 --heads 4
"""

# %%
# What the program takes. Run without arguments it does what this page shows.

import argparse
from pathlib import Path

from support import SEED, check_picture, require, whole

parser = argparse.ArgumentParser(description="A transformer block, its backward, and a check of both.")
parser.add_argument(
    "--tokens", type=whole(1), default=6, help="length of the sequence (default: %(default)s)"
)
parser.add_argument("--dim", type=whole(1), default=16, help="width of the stream (default: %(default)s)")
parser.add_argument("--heads", type=whole(1), default=4, help="of the attention (default: %(default)s)")
parser.add_argument("--seed", type=SEED, default=0, help="of weights and input (default: %(default)s)")
parser.add_argument(
    "--plot", type=Path, default=Path("transformer_block.png"), help="the picture (default: %(default)s)"
)
options = parser.parse_args()
if options.dim % options.heads:
    parser.error("--dim needs to be a multiple of --heads")
check_picture(parser, options.plot)
require("matplotlib")

# %%
# The parameters
# --------------
# Weights are ``(in, out)``. Everything is float64, so that finite differences have digits to show.

import fastnorm
import numpy as np

batch, tokens, dim, heads = 2, options.tokens, options.dim, options.heads
inner = 2 * dim
rng = np.random.default_rng(options.seed)


def weight(rows, cols):
    """Return a random matrix that keeps the size of what it multiplies."""
    return rng.standard_normal((rows, cols)) / np.sqrt(rows)


parameters = {
    "norm_1": 1 + 0.1 * rng.standard_normal(dim),
    "w_qkv": weight(dim, 3 * dim),
    "w_out": weight(dim, dim),
    "norm_2": 1 + 0.1 * rng.standard_normal(dim),
    "w_gate": weight(dim, inner),
    "w_up": weight(dim, inner),
    "w_down": weight(inner, dim),
}

# %%
# The forward
# -----------
# ``x + attention(norm(x))``, then ``h + mlp(norm(h))``. ``vjp`` calls an op and returns its result with the
# function that pulls a gradient back through it. Heads are views: no op needs them to be contiguous.
# A token sees itself and those before it (``is_causal``). ``add_rms_norm`` adds the residual and normalises
# the sum in one pass, and returns both.


def split_heads(x):
    """(batch, tokens, heads * d) -> (batch, heads, tokens, d), a view."""
    return x.reshape(batch, tokens, heads, -1).swapaxes(1, 2)


def join_heads(x):
    """The inverse of `split_heads`."""
    return x.swapaxes(1, 2).reshape(batch, tokens, -1)


def forward(x, p):
    """Return the result of the block and the pullbacks of its ops."""
    normed, norm_1 = fastnorm.vjp(fastnorm.rms_norm, x, p["norm_1"])
    qkv, project = fastnorm.vjp(fastnorm.linear, normed, p["w_qkv"])
    query, keys, values = map(split_heads, np.split(qkv, 3, axis=-1))
    read, attend = fastnorm.vjp(fastnorm.attention, query, keys, values, is_causal=True)
    mixed, out = fastnorm.vjp(fastnorm.linear, join_heads(read), p["w_out"])
    (normed, h), norm_2 = fastnorm.vjp(fastnorm.add_rms_norm, mixed, x, p["norm_2"])
    active, gate = fastnorm.vjp(fastnorm.gated_linear, normed, p["w_gate"], p["w_up"])
    update, down = fastnorm.vjp(fastnorm.linear, active, p["w_down"])
    return h + update, (norm_1, project, attend, out, norm_2, gate, down)


# %%
# The backward
# ------------
# The pullbacks, in reverse. Gradients are returned, so a sum of gradients stands where the forward uses an
# array twice: ``x`` and ``h`` each go into a norm and around it. ``norm_2`` takes the gradients of both its
# results and adds them itself.


def backward(dy, pullbacks):
    """Return the gradients of x and of the parameters."""
    norm_1, project, attend, out, norm_2, gate, down = pullbacks
    g = {}
    dactive, g["w_down"], _ = down(dy)
    dnormed, g["w_gate"], g["w_up"], _, _ = gate(dactive)
    dmixed, dx, g["norm_2"] = norm_2(dnormed, dy)
    dread, g["w_out"], _ = out(dmixed)
    dqkv = np.concatenate([join_heads(part) for part in attend(split_heads(dread))], axis=-1)
    dnormed, g["w_qkv"], _ = project(dqkv)
    dx_normed, g["norm_1"], _ = norm_1(dnormed)
    return dx + dx_normed, g


x = rng.standard_normal((batch, tokens, dim))
y, pullbacks = forward(x, parameters)
dy = rng.standard_normal(y.shape)  # as if the loss were sum(dy * y)
dx, gradients = backward(dy, pullbacks)
print(f"y has shape {y.shape}; gradients: x, {', '.join(gradients)}")

# %%
# The check
# ---------
# Moving along a random direction ``v`` by a small step changes the loss ``sum(dy * y)`` by the step times
# ``sum(gradient * v)``. The central difference errs by the square of the step from the third derivative, and
# by the rounding of the loss over the step: best is somewhere between.

arrays = {"x": x, **parameters}
steps = 10.0 ** -np.arange(1, 11)
errors = {}
for name, gradient in {"x": dx, **gradients}.items():
    direction = rng.standard_normal(gradient.shape)
    slope = np.sum(gradient * direction)
    errors[name] = []
    for step in steps:
        ends = []
        for sign in (1, -1):
            moved = {**arrays, name: arrays[name] + sign * step * direction}
            ends.append(np.sum(dy * forward(moved["x"], moved)[0]))
        errors[name].append(abs((ends[0] - ends[1]) / (2 * step) - slope) / abs(slope))
    print(f"{name:7} differs by {min(errors[name]):.1e} of the slope at the best step")
    assert min(errors[name]) < 1e-7, name

# %%
# The picture
# -----------

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
for name, values in errors.items():
    axes.loglog(steps, np.maximum(values, 1e-16), "o-", ms=4, label=name)
axes.loglog(steps[:5], steps[:5] ** 2, "k:", label="step squared")
axes.set(xlabel="step of the difference", ylabel="relative distance from the gradient", ylim=(1e-13, 10))
axes.grid(visible=True, alpha=0.3)
axes.legend(ncols=2)
figure.savefig(options.plot)
print(f"drawn in {options.plot}")

# %%
# What to see: a line falls with the square of the step, as the error of a central difference does around a
# correct gradient, until the rounding of float64 makes it rise. The block is linear in ``w_up`` and
# ``w_down``: for these there is nothing but rounding. A wrong gradient would stay level, far up.

print("Lines fall with the square of the step until rounding sets in: the gradients are right.")
