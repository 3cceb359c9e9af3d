"""Fused normalisation and activation kernels for NumPy arrays, forward and backward.

Every op is a function ``y = op(x, ..., *, keywords, out=None)`` with a backward
``gradients = op_backward(dy, <the forward's positional arguments>, *, <its keywords>)``, and every name
stands here. `fastnorm.reference` holds a twin of each op in plain NumPy.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

if "__all__" in globals():
    # The package is loaded again: these name ops, and have to name their families once more.
    for _shared in ("attention", "linear", "softmax"):
        del globals()[_shared]

from . import _interpreter as _interpreter  # first: it refuses what the others would hang on

# isort: split
from . import _distribution as _distribution  # it tells of another project's files among these
from . import _progress, _threadpoolctl, _vjp
from . import activations as _activations
from . import attention as _attention
from . import channel_norms as _channel_norms
from . import class_losses as _class_losses
from . import elementwise_losses as _elementwise_losses
from . import embeddings as _embeddings
from . import gates as _gates
from . import linear as _linear
from . import memory as _memory
from . import mlp as _mlp
from . import norms as _norms
from . import optim as _optim
from . import regularisers as _regularisers
from . import residual_norms as _residual_norms
from . import runtime as _runtime
from . import schedules as _schedules
from . import softmax as _softmax
from ._progress import *
from ._vjp import *
from .activations import *
from .attention import attention as attention
from .attention import attention_backward as attention_backward
from .attention import memory_read as memory_read
from .attention import memory_read_backward as memory_read_backward
from .channel_norms import *
from .class_losses import *
from .elementwise_losses import *
from .embeddings import *
from .gates import *
from .linear import PackedWeight as PackedWeight
from .linear import gated_linear as gated_linear
from .linear import gated_linear_backward as gated_linear_backward
from .linear import linear as linear
from .linear import linear_backward as linear_backward
from .linear import pack as pack
from .memory import *
from .mlp import *
from .norms import *
from .optim import *
from .regularisers import *
from .residual_norms import *
from .runtime import *
from .schedules import *
from .softmax import log_softmax as log_softmax
from .softmax import log_softmax_backward as log_softmax_backward
from .softmax import softmax as softmax
from .softmax import softmax_backward as softmax_backward

if TYPE_CHECKING:
    from . import reference

__all__ = ["reference"]
__all__ += _progress.__all__
__all__ += _vjp.__all__
__all__ += _activations.__all__
__all__ += _attention.__all__
__all__ += _channel_norms.__all__
__all__ += _class_losses.__all__
__all__ += _elementwise_losses.__all__
__all__ += _embeddings.__all__
__all__ += _gates.__all__
__all__ += _linear.__all__
__all__ += _memory.__all__
__all__ += _mlp.__all__
__all__ += _norms.__all__
__all__ += _optim.__all__
__all__ += _regularisers.__all__
__all__ += _residual_norms.__all__
__all__ += _runtime.__all__
__all__ += _schedules.__all__
__all__ += _softmax.__all__

__version__: str


def __getattr__(name: str) -> Any:
    if name == "reference":
        return _reference()
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _reference() -> ModuleType:
    # The twins are imported when they are first used.
    from importlib import import_module

    return import_module(f"{__name__}.reference")


def _version() -> str:
    found = _distribution.version()
    globals()["__version__"] = found
    return found


_threadpoolctl.register()
