"""The NumPy twin of every op, under the same name and with the same signature.

The twins compute in float64 and round once to the dtype of the result. They are written to be read and to be
right: the native kernels are tested against them, and they run where the extension cannot
(`fastnorm.set_backend`).

`fastnorm.reference.layer_norm` is the op `fastnorm.layer_norm` bound to its twin,
`reference.norms.layer_norm`, which takes arguments in the canonical form that `_arguments` describes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import __all__ as _public
from .._op import OPS

if TYPE_CHECKING:  # would take these for files of families
    from ..attention import attention as attention
    from ..linear import linear as linear
    from ..softmax import softmax as softmax

# The files of the families first, for some share their name with an op.
for _family in {op.__module__.rpartition(".")[2] for op in OPS.values()}:
    import_module(f".{_family}", __name__)
__all__ = [name for name in _public if name in OPS]
globals().update({name: op.reference for name, op in OPS.items()})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
