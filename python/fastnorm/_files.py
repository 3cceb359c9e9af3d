"""Files of arrays: .npz archives that NumPy can read too, without pickled objects.

A file is not trusted: what it says of itself is compared with its size, and with what it should hold, before
memory is taken for it. So only archives without compression are read, as `write` makes them.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import stat
import uuid
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from ._arguments.rules import Rules, is_float, shown
from ._typing import Array

Header = tuple[tuple[int, ...], np.dtype[Any]]


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file, which is the old one or the whole new one whatever happens meanwhile."""
    rules = Rules("save")
    target = os.path.realpath(as_path(rules, path))
    if os.path.exists(target) and not os.path.isfile(target):  # a device or a pipe takes what comes
        contents = io.BytesIO()
        np.savez(contents, **arrays)  # type: ignore[arg-type]  # stub: the keyword allow_pickle
        with open(target, "wb") as stream:
            stream.write(contents.getbuffer())
        return
    mode = None
    if os.path.lexists(target):
        with open(target, "r+b") as old:  # what may not be written may not be replaced either
            mode = os.fstat(old.fileno()).st_mode
    beside = os.path.join(os.path.dirname(target), f".{uuid.uuid4().hex}")
    try:
        with open(beside, "xb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and error.filename == beside:
            error.filename = target
        raise


def as_path(rules: Rules, path: object) -> str:
    """Return the name of a file."""
    if not isinstance(path, (str, os.PathLike)):
        raise rules.type_error("path", f"has type {type(path).__name__}", "a str or os.PathLike")
    try:
        name = os.fspath(path)
    except Exception as error:
        raise rules.type_error(
            "path", f"is {shown(path)}, which has no name", "a str or os.PathLike"
        ) from error
    if not isinstance(name, str):
        raise rules.type_error("path", f"is a name of type {type(name).__name__}", "a str")
    if "\0" in name:
        raise rules.value_error("path", f"is {shown(name)}", "a name without null characters")
    return name


class Archive:
    """A file that has been opened to be read, whose entries are known by their headers.

    `maker` is what has written such files. All errors but those of opening and of memory are a ValueError
    that names the path.
    """

    headers: dict[str, Header]

    def __init__(self, path: str | os.PathLike[str], maker: str) -> None:
        self._rules = Rules("load")
        self._needed = f"a file that {maker} wrote"
        self._path = as_path(self._rules, path)
        # Not waiting for a writer where it is a pipe, which is refused.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self.refusal("is no regular file")
        self._file = open(descriptor, "rb")  # noqa: SIM115  # closed on leaving the context

    def __enter__(self) -> Archive:
        try:
            self._archive = zipfile.ZipFile(self._file)
            size = os.fstat(self._file.fileno()).st_size
            entries = self._archive.infolist()
            stored = [e for e in entries if e.compress_type == zipfile.ZIP_STORED]
            if len(stored) < len(entries) or sum(e.file_size for e in entries) > size:
                raise ValueError("its entries are larger than the file")
            self.headers = {}
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in self.headers:
                    raise ValueError(f"it has two entries {name!r}")
                self.headers[name] = self._header(entry)
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if isinstance(error, Exception) and not isinstance(error, MemoryError):
            if str(error).startswith(f"{self._rules.op}: "):
                return
            raise self.refusal(f"cannot be read ({error or type(error).__name__})") from error

    def _header(self, entry: zipfile.ZipInfo) -> Header:
        with self._archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            try:
                shape, _, dtype = read(stream)
            except MemoryError as error:  # of the parser, for brackets and signs within each other
                raise ValueError(f"entry {entry.filename!r} has a header that cannot be parsed") from error
            if stream.tell() + math.prod(shape) * dtype.itemsize != entry.file_size or dtype.hasobject:
                raise ValueError(f"entry {entry.filename!r} does not have the size that its header claims")
            return shape, dtype

    def refusal(self, found: str) -> ValueError:
        """Return the error for a file that holds something else."""
        return self._rules.value_error("path", f"{shown(self._path)} {found}", self._needed)

    def read(self, name: str) -> Array:
        """Return an entry."""
        if name not in self.headers:
            raise self.refusal(f"has no entry {name!r}")
        with self._archive.open(f"{name}.npy") as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array

    def text(self, name: str) -> str:
        """Return an entry that is one string."""
        shape, dtype = self.headers.get(name, ((0,), None))
        if name in self.headers and (shape != () or dtype is None or dtype.kind != "U"):
            raise self.refusal(f"has an entry {name!r} that is no text")
        return str(self.read(name))

    def read_floats(self, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return arrays of these shapes in a float type, and raise before the first is read where one is not
        there, or is of another shape.
        """
        # bfloat16 is not a type that files know: its bits are kept.
        are_bits = dtype.kind != "f"
        for name, shape in shapes.items():
            if name not in self.headers:
                raise self.refusal(f"has no entry {name!r}")
            found, kind = self.headers[name]
            if found != shape:
                raise self.refusal(
                    f"has an entry {name!r} of shape {found} where the settings ask for {shape}"
                )
            if not (kind.type is np.uint16 if are_bits else is_float(kind)):
                raise self.refusal(
                    f"has an entry {name!r} of dtype {kind} where the settings ask for {dtype}"
                )
        arrays = {}
        for name in shapes:
            array = self.read(name)
            with np.errstate(over="ignore"):
                array = array.astype(np.uint16 if are_bits else dtype, copy=False)
            array = np.require(array, requirements=["C", "A", "W"])
            arrays[name] = array.view(dtype) if are_bits else array
        return arrays

    def has_only(self, names: set[str]) -> None:
        """Raise where there are other entries."""
        others = sorted(set(self.headers) - names)
        if others:
            raise self.refusal(f"has the entry {others[0]!r} too")
