"""Files of MLP and MemN2N: what is read back, what is refused, and that none is left half written."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastnorm import MLP, MemN2N
from numpy.typing import NDArray
from processes import succeeds
from tolerances import assert_same_bits

Array = NDArray[Any]

MODELS: dict[str, Any] = {
    "MLP": MLP([3, 2, 1], seed=0),
    "adjacent": MemN2N(9, 4, 2, 3, seed=0),
    "layerwise": MemN2N(9, 4, 2, 3, tying="layerwise", dtype=np.float64, seed=0),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))


def arrays_of(model: Any) -> dict[str, Array]:
    return model.parameters if isinstance(model, MemN2N) else model.state_dict()


def entries_of(model: Any, path: Path) -> dict[str, Array]:
    model.save(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def assert_same_model(one: Any, other: Any) -> None:
    for name, array in arrays_of(one).items():
        assert_same_bits(arrays_of(other)[name], array)


def refuses(model: Any, path: Path, found: str = "") -> None:
    """The error names the path and what wrote such files."""
    kind = type(model)
    with pytest.raises(
        ValueError, match=f"(?s)^load: path .*{found}.*needs a file that {kind.__name__}.save wrote"
    ):
        kind.load(path)


@each_model
def test_other_files(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    model.save(path)
    whole, other = path.read_bytes(), io.BytesIO()
    np.save(other, np.ones(3))
    archive = io.BytesIO()
    np.savez(archive, a=np.ones(3))
    with zipfile.ZipFile(tmp_path / "text", "w") as file:
        file.writestr("settings.npy", "no array")
        file.writestr("layer_sizes.npy", "no array")
    text = (tmp_path / "text").read_bytes()
    contents = (
        b"",
        b"text",
        whole[: len(whole) // 2],
        whole[:-1],
        other.getvalue(),
        archive.getvalue(),
        text,
    )
    for content in (*contents, pickle.dumps(model)):
        path.write_bytes(content)
        refuses(model, path)
    with pytest.raises(FileNotFoundError):
        type(model).load(tmp_path / "missing")
    for bad in (3, None, b"file", io.BytesIO(whole)):
        with pytest.raises(TypeError, match=r"load: path has type .*needs a str or os\.PathLike"):
            type(model).load(bad)


@each_model
def test_changed_bytes(model: Any, tmp_path: Path) -> None:
    """Are noticed, or do not matter."""
    path = tmp_path / "file"
    model.save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        path.write_bytes(changed)
        try:
            again = type(model).load(path)
        except ValueError:
            refuses(model, path)
        else:
            assert_same_model(again, model)


@each_model
def test_entries(model: Any, tmp_path: Path) -> None:
    """Missing, unknown, of another shape or dtype, compressed."""
    path = tmp_path / "file"
    entries = entries_of(model, path)
    name = next(iter(arrays_of(model)))
    array = entries[name]
    changes: list[dict[str, Array]] = [
        {key: value for key, value in entries.items() if key != name},
        {**entries, "more": np.ones(3)},
        *({**entries, name: bad} for bad in (array[:1], array * 1j, array.astype(int), array.astype("U"))),
    ]
    for changed in changes:
        np.savez(path, **changed)  # type: ignore[arg-type]
        refuses(model, tmp_path / "file.npz")
    np.savez_compressed(path, **entries)  # type: ignore[arg-type]
    refuses(model, tmp_path / "file.npz")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(f"{name}.npy", b"")
    refuses(model, path, "two entries")


@each_model
def test_other_byte_orders(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    entries = entries_of(model, path)
    for name in arrays_of(model):
        entries[name] = np.asfortranarray(entries[name].astype(entries[name].dtype.newbyteorder()))
    np.savez(path, **entries)  # type: ignore[arg-type]
    again = type(model).load(path)
    assert_same_model(again, model)
    for array in arrays_of(again).values():
        assert array.dtype.isnative
        assert array.flags.carray


def test_what_was_diverging_comes_back(tmp_path: Path) -> None:
    """NaN and infinity are what a network may have when it is saved."""
    net = MLP([2, 2], seed=0)
    net.weights[0][...] = [[np.nan, np.inf], [-np.inf, -0.0]]
    net.save(tmp_path / "net")
    assert_same_model(MLP.load(tmp_path / "net"), net)


def test_layer_sizes(tmp_path: Path) -> None:
    net, path = MODELS["MLP"], tmp_path / "file.npz"
    entries = entries_of(net, path)
    for bad in ([3.5, 2, 1], [3, 2, -1], [3, 0, 1], [3, 2], [3], 3, [[3, 2, 1]], [3, 2, 2**62], ["3", "2"]):
        np.savez(path, **{**entries, "layer_sizes": np.array(bad)})  # type: ignore[arg-type]
        refuses(net, path)
    for name, text in (("dtype", "int32"), ("dtype", "f128"), ("activation", "selu"), ("dtype", 3)):
        np.savez(path, **{**entries, name: np.array(text)})  # type: ignore[arg-type]
        refuses(net, path)


def test_settings(tmp_path: Path) -> None:
    model, path = MODELS["layerwise"], tmp_path / "file.npz"
    entries = entries_of(model, path)
    settings = json.loads(str(entries["settings"]))
    changes: list[Any] = [
        *(
            {**settings, name: bad}
            for name in ("hops", "dim", "vocab_size")
            for bad in (0, -1, 1.5, "2", None)
        ),
        *({**settings, name: 10**30} for name in ("hops", "dim", "vocab_size")),
        {**settings, "tying": "adjacent", "hops": 10**12},
        {**settings, "dtype": "float16"},
        {**settings, "temporal": 1},
        {**settings, "more": 1},
        {key: value for key, value in settings.items() if key != "tying"},
        [],
        None,
    ]
    for changed in changes:
        np.savez(path, **{**entries, "settings": np.array(json.dumps(changed))})  # type: ignore[arg-type]
        refuses(model, path)
    for bad in (np.array("{"), np.array(3), np.array(["{}"])):
        np.savez(path, **{**entries, "settings": bad})  # type: ignore[arg-type]
        refuses(model, path)


def test_word_0_is_no_word(tmp_path: Path) -> None:
    model, path = MODELS["adjacent"], tmp_path / "file.npz"
    entries = entries_of(model, path)
    np.savez(path, **{**entries, "embedding_0": np.ones_like(entries["embedding_0"])})  # type: ignore[arg-type]
    table = MemN2N.load(path).parameters["embedding_0"]
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_array_equal(table[1:], 1)


CLAIMS = """
import resource, zipfile
import numpy as np
import fastnorm

claimed = {"weights.0": (20000, 20000), "biases.0": (20000,)}
path = "PATH"
for bomb in (False, True):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if bomb else zipfile.ZIP_STORED) as file:
        settings = {"layer_sizes": np.array([20000, 20000]), "dtype": np.array("float32")}
        settings |= {name: np.array("") for name in ("activation", "output_activation")}
        for name, value in settings.items():
            with file.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, value)
        for name, shape in claimed.items():
            with file.open(f"{name}.npy", "w") as entry:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(entry, header)
                if bomb:
                    for _ in range(shape[0]):
                        entry.write(bytes(4 * shape[-1] if len(shape) > 1 else 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        fastnorm.MLP.load(path)
    except ValueError as error:
        assert str(error).startswith("load: path "), error
    else:
        raise AssertionError
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
"""


@pytest.mark.skipif(os.name != "posix", reason="reads the resident size")
def test_claims_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """Of a file of 1 kB, and of one of 2 MB that would inflate to 1.6 GB."""
    succeeds(CLAIMS.replace("PATH", str(tmp_path / "file")))


@each_model
def test_no_file_is_left_half_written(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    model.save(path)
    before = path.read_bytes()

    def fails(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", fails)
    for name in ("file", "new"):
        with pytest.raises(OSError, match="no space"):
            model.save(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="has links and devices")
@each_model
def test_links_and_devices(model: Any, tmp_path: Path) -> None:
    """A link stays one, and what is no regular file is written to."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_same_model(type(model).load(tmp_path / "file"), model)
    model.save(os.devnull)
    assert not os.path.isfile(os.devnull)


@pytest.mark.parametrize("load", [MLP.load, MemN2N.load])
def test_what_is_no_regular_file(load: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", "/dev/null", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(ValueError, match=r"^load: path '.*' is no regular file, needs a file that"):
            load(path)


def test_a_header_of_many_signs(tmp_path: Path) -> None:
    header = b"{'descr':'<i8','fortran_order':False,'shape':(" + b"-" * 6001 + b"1,)}\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "file", "w") as archive:
        archive.writestr("layer_sizes.npy", member)
    with pytest.raises(ValueError, match=r"^load: path .* has a header that cannot be parsed"):
        MLP.load(tmp_path / "file")


class Nameless(os.PathLike[str]):
    def __fspath__(self) -> str:
        raise OSError("no name")


@pytest.mark.parametrize(
    ("path", "error"),
    [(3, TypeError), (None, TypeError), (b"x", TypeError), (Nameless(), TypeError), ("a\0b", ValueError)],
)
def test_paths_that_are_none(path: Any, error: type[Exception]) -> None:
    models: tuple[Any, ...] = (MLP([2, 1]), MemN2N(5, 2, 1, 2))
    for model in models:
        with pytest.raises(error, match=r"^save: path "):
            model.save(path)
        with pytest.raises(error, match=r"^load: path "):
            type(model).load(path)


def test_saving_keeps_permissions_and_names_the_path(tmp_path: Path) -> None:
    mlp, path = MLP([2, 1]), tmp_path / "model"
    mlp.save(path)
    path.chmod(0o600)
    mlp.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError, match=r"missing/model'$"):
        mlp.save(tmp_path / "missing" / "model")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="loop"):
        mlp.save(tmp_path / "loop")
    assert (tmp_path / "loop").is_symlink()
