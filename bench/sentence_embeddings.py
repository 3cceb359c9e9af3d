"""The encoder of examples/sentence_embeddings.py beside the same in other libraries.

    python bench/sentence_embeddings.py --batch 1,8 --length 32,128 --threads 2

Contenders are NumPy, PyTorch (eager, and compiled on request: it compiles each shape for minutes), ONNX
Runtime and OpenVINO, as far as they are installed.

All have the same weights and the same tokens, random ones without padding; tokenising is not timed. The
contenders run in turns, after their embeddings have been compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--batch", default="1,8")
parser.add_argument("--length", default="32,128")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=5.0)
parser.add_argument(
    "--only", help="contenders beside fastnorm, separated by commas (default: all but compile)"
)
parser.add_argument("--model", type=Path, help="folder of the model (default: the installed package)")
OPTIONS = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(OPTIONS.threads)  # read when the libraries are loaded

import encoders  # noqa: E402
import fastnorm  # noqa: E402
import numpy as np  # noqa: E402
from fastnorm._report.timing import Ratio, format_seconds, time_in_turns  # noqa: E402
from fastnorm._specs import Call  # noqa: E402

AGREEMENT = 1e-5


def example() -> Any:
    """Import the example."""
    path = Path(__file__).resolve().parent.parent / "examples" / "sentence_embeddings.py"
    spec = importlib.util.spec_from_file_location("sentence_embeddings_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def contenders(encode: Any) -> dict[str, encoders.Embed]:
    """Return the encoders of what is installed."""
    makers: dict[str, Callable[[], encoders.Embed]] = {
        "numpy": lambda: encoders.numpy_encoder(encode),
        "torch": lambda: encoders.torch_encoder(encode),
        "compile": lambda: encoders.torch_encoder(encode, compiled=True),
        "onnxruntime": lambda: encoders.onnxruntime_encoder(encode, OPTIONS.threads),
        "openvino": lambda: encoders.openvino_encoder(encode, OPTIONS.threads),
    }
    wanted = OPTIONS.only.split(",") if OPTIONS.only else [name for name in makers if name != "compile"]
    found = {"fastnorm": encode.embed}
    for name in wanted:
        try:
            if name in ("torch", "compile"):
                import torch

                torch.set_num_threads(OPTIONS.threads)
            found[name] = makers[name]()
        except ImportError as error:
            print(f"{name}: {error.name} is not installed")
    return found


def main() -> None:
    """Time and print."""
    fastnorm.set_num_threads(OPTIONS.threads)
    module = example()
    encode = module.SentenceEncoder(OPTIONS.model or module.find_model())
    embeds = contenders(encode)
    rng = np.random.default_rng(0)
    for batch in map(int, OPTIONS.batch.split(",")):
        for length in map(int, OPTIONS.length.split(",")):
            ids = rng.integers(1000, encode.config["vocab_size"], (batch, length))
            mask = np.ones(ids.shape, bool)
            expected = embeds["fastnorm"](ids, mask)
            differences = {
                name: float(np.abs(embed(ids, mask) - expected).max()) for name, embed in embeds.items()
            }
            assert max(differences.values()) <= AGREEMENT, differences
            calls = {
                name: Call(embed, (ids, mask), spins=name not in ("fastnorm", "numpy"))
                for name, embed in embeds.items()
            }
            times = time_in_turns(calls, seconds=OPTIONS.seconds, threads=OPTIONS.threads)
            print(f"batch {batch}, {length} tokens, {OPTIONS.threads} threads")
            for name, timing in sorted(times.items(), key=lambda item: item[1].median):
                ratio = Ratio.of(timing, times["fastnorm"]).median
                print(f"  {name:12} {format_seconds(timing.median):>9}  {ratio:5.2f} x fastnorm", flush=True)


if __name__ == "__main__":
    main()
