"""Type aliases of the public interface, in one place."""

from __future__ import annotations

from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


class SupportsDLPack(Protocol):
    """An array of another library that NumPy can view through DLPack."""

    def __dlpack__(self, *, stream: Any = ...) -> Any:
        """Return the capsule that holds the array."""

    def __dlpack_device__(self) -> tuple[Any, Any]:
        """Return the kind and the number of the device that holds the array."""


ArrayLike: TypeAlias = npt.ArrayLike | SupportsDLPack
Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None  # None: all axes
Approximation: TypeAlias = Literal["none", "tanh", "sigmoid"]
DenseActivation: TypeAlias = Literal[
    "relu",
    "sigmoid",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "mish",
    "softplus",
    "leaky_relu",
    "hardswish",
    "logsigmoid",
    "elu",
]
Gate: TypeAlias = Literal["swish", "sigmoid", "tanh", "gelu", "gelu_tanh", "relu"]
Backend: TypeAlias = Literal["native", "reference"]
LossResult: TypeAlias = Any  # a NumPy scalar, or an array where nothing is reduced
Reduction: TypeAlias = Literal["mean", "sum", "none"]
BatchReduction: TypeAlias = Literal["mean", "sum", "none", "batchmean"]
