"""One training step of a network with one hidden layer, and inference of a deep one, beside NumPy and
installed peers.

    python bench/training.py --sizes 3-4-1 --rows 5 --threads 1
    python bench/training.py --sizes 64-128-128-128-64 --rows 65536 --inference --threads 2

Float32, ReLU, mean squared error, plain gradient descent; all start from the same weights. The contenders run
in turns.
"""

from __future__ import annotations

import argparse
import os
from itertools import pairwise
from typing import Any

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sizes", default="64-256-1")
parser.add_argument("--rows", type=int, default=1024)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=5.0)
parser.add_argument("--inference", action="store_true")
OPTIONS = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(OPTIONS.threads)  # read when the libraries are loaded
if OPTIONS.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import fastnorm  # noqa: E402
import numpy as np  # noqa: E402
from fastnorm._report.timing import Ratio, format_seconds, time_in_turns  # noqa: E402
from fastnorm._specs import Call  # noqa: E402

LR = np.float32(0.01)


def numpy_forward(x: Any, weights: Any, biases: Any) -> list[Any]:
    """Activations of every layer, the input in front."""
    activations = [x]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = activations[-1] @ w + b
        activations.append(z if i == len(weights) - 1 else np.maximum(z, 0))
    return activations


def numpy_step(x: Any, y: Any, weights: Any, biases: Any) -> float:
    """A step as NumPy users write it."""
    activations = numpy_forward(x, weights, biases)
    error = activations[-1] - y
    loss = float(np.mean(error**2))
    g = np.float32(2 / error.size) * error
    for i in range(len(weights) - 1, -1, -1):
        dw, db = activations[i].T @ g, g.sum(axis=0)
        if i:
            g = g @ weights[i].T * (activations[i] > 0)
        weights[i] -= LR * dw
        biases[i] -= LR * db
    return loss


def torch_calls(x: Any, y: Any, weights: Any, biases: Any) -> Any:
    """PyTorch's step or inference; its fused optimiser."""
    import torch

    torch.set_num_threads(OPTIONS.threads)
    layers: list[Any] = []
    for w, b in zip(weights, biases, strict=True):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        layers += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    inputs, targets = torch.tensor(x), torch.tensor(y)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def infer() -> Any:
        with torch.inference_mode():
            return model(inputs)

    return infer if OPTIONS.inference else step


def jax_calls(x: Any, y: Any, weights: Any, biases: Any) -> Any:
    """JAX's step or inference, compiled."""
    import jax
    import jax.numpy as jnp

    parameters = [(jnp.array(w), jnp.array(b)) for w, b in zip(weights, biases, strict=True)]
    inputs, targets = jnp.array(x), jnp.array(y)

    def forward(parameters: Any, a: Any) -> Any:
        for i, (w, b) in enumerate(parameters):
            a = a @ w + b
            a = a if i == len(parameters) - 1 else jax.nn.relu(a)
        return a

    @jax.jit
    def update(parameters: Any, a: Any, targets: Any) -> Any:
        loss, gradients = jax.value_and_grad(lambda p: jnp.mean((forward(p, a) - targets) ** 2))(parameters)
        return loss, jax.tree.map(lambda p, g: p - 0.01 * g, parameters, gradients)

    compiled = jax.jit(forward)

    def step() -> Any:
        nonlocal parameters
        loss, parameters = update(parameters, inputs, targets)
        return loss.block_until_ready()

    return (lambda: compiled(parameters, inputs).block_until_ready()) if OPTIONS.inference else step


def main() -> None:
    """Time and print."""
    fastnorm.set_num_threads(OPTIONS.threads)
    sizes = [int(size) for size in OPTIONS.sizes.split("-")]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((OPTIONS.rows, sizes[0])).astype(np.float32)
    y = rng.standard_normal((OPTIONS.rows, sizes[-1])).astype(np.float32)
    net = fastnorm.MLP(sizes, seed=0)
    weights, biases = [w.copy() for w in net.weights], [b.copy() for b in net.biases]
    mine = [w.copy() for w in weights], [b.copy() for b in biases]
    optimizer = fastnorm.SGD()
    functions: dict[str, Any] = {
        "fastnorm": (lambda: net.forward(x))
        if OPTIONS.inference
        else (lambda: net.step(x, y, optimizer=optimizer)),
        "numpy": (lambda: numpy_forward(x, *mine))
        if OPTIONS.inference
        else (lambda: numpy_step(x, y, *mine)),
    }
    for name, make in (("torch", torch_calls), ("jax", jax_calls)):
        try:
            functions[name] = make(x, y, weights, biases)
        except ImportError:
            print(f"{name} is not installed")
    if not OPTIONS.inference:
        first = {name: float(function()) for name, function in functions.items()}
        assert np.allclose(list(first.values()), first["numpy"], rtol=1e-4), first
    calls = {name: Call(function, spins=name in ("torch", "jax")) for name, function in functions.items()}
    times = time_in_turns(calls, seconds=OPTIONS.seconds, threads=OPTIONS.threads)
    pairs = sum(n * m for n, m in pairwise(sizes))
    products = 2 * OPTIONS.rows * (pairs if OPTIONS.inference else 3 * pairs - sizes[0] * sizes[1])
    print(f"{OPTIONS.sizes}, {OPTIONS.rows} rows, {OPTIONS.threads} threads")
    for name, timing in sorted(times.items(), key=lambda item: item[1].median):
        ratio = Ratio.of(timing, times["fastnorm"]).median
        rate = products / timing.best / 1e9
        print(
            f"  {name:9} {format_seconds(timing.median):>9}  {ratio:5.2f} x fastnorm  {rate:6.1f} GFLOP/s at "
            f"best"
        )


if __name__ == "__main__":
    main()
