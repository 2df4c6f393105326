"""Hostile pickles, by every way on which a file of weights is read: refused, and proven not to have run."""

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnets.core.safe_pickle import read_array_pickle
from resnets.weights.foreign_file import read_foreign
from resnets.weights.hub import read_folder

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


class _Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


def payloads(marker: Path) -> dict[str, bytes]:
    """Pickles that make `marker` when something runs them."""
    touch = f"open({str(marker)!r}, 'w').close()"
    shell = f"touch {marker}"
    return {
        "os.system": pickle.dumps({"a": _Call(os.system, shell)}, 2),
        "exec, protocol 4": pickle.dumps({"a": _Call(exec, touch)}, 4),
        "nested in an array": pickle.dumps({"a": np.array([_Call(exec, touch)], object)}, 4),
        "numpy's own exec": b"cnumpy.testing._private.utils\nrunstring\n(V" + touch.encode() + b"\n(dtR.",
        "the instance opcode": b"(S'" + shell.encode() + b"'\nios\nsystem\n.",
        "after a good name": b"ccollections\nOrderedDict\n)Rcbuiltins\nexec\n(V" + touch.encode() + b"\ntR.",
        "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0adtype.mro.__self__\x93.",
        "attributes of a stand-in": b"\x80\x02cnumpy\ndtype\nN}U\x08__call__cos\nsystem\ns\x86b.",
    }


def test_the_payloads_do_harm_where_they_are_unpickled(tmp_path: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    for kind in ("os.system", "exec, protocol 4", "nested in an array", "the instance opcode", "after a good name"):
        marker = tmp_path / "marker"
        pickle.loads(payloads(marker)[kind])
        assert marker.exists(), kind
        marker.unlink()


@pytest.mark.parametrize("ending", [".pkl", ".pth", ".bin", ".pt", ".safetensors"])
@pytest.mark.parametrize("kind", list(payloads(Path("marker"))))
def test_no_hostile_pickle_runs(tmp_path: Path, kind: str, ending: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / f"weights{ending}"
    path.write_bytes(payloads(marker)[kind])
    with pytest.raises(ValueError, match="weights"):
        read_foreign(path)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["os.system", "exec, protocol 4", "after a good name"])
@pytest.mark.parametrize("old", [False, True])
def test_no_hostile_file_of_torch_runs(tmp_path: Path, kind: str, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # a user's setting must not open the door
    marker, path = tmp_path / "marker", tmp_path / "weights.pkl"  # a name that does not say who wrote it
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=not old)
    payload = payloads(marker)[kind]
    if old:  # magic number, protocol, system, then the object
        path.write_bytes(b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})) + payload)
    else:
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, payload if name.endswith("data.pkl") else data)
    with pytest.raises(ValueError, match=r"weights\.pkl.*Nothing of it was run"):
        read_foreign(path)
    assert not marker.exists()


def test_no_hostile_folder_runs(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    (tmp_path / "pytorch_model.bin").write_bytes(payloads(marker)["os.system"])
    with pytest.raises(ValueError, match="Nothing of it was run"):
        read_folder(tmp_path)
    assert not marker.exists()


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(payloads(tmp_path / "m")["os.system"])
    module = "nt" if sys.platform == "win32" else "posix"
    with pytest.raises(ValueError, match=rf"a\.pkl holds the name {module}\.system: only dicts"):
        read_array_pickle(tmp_path / "a.pkl")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.array(["text"], object)))
    with pytest.raises(ValueError, match="array of the type"):
        read_array_pickle(tmp_path / "a.pkl")
    # an array that claims more numbers than it has
    claims = pickle.dumps(np.arange(3, dtype="f4"), 2).replace(b"K\x03\x85", b"K\x09\x85")
    (tmp_path / "a.pkl").write_bytes(claims)
    with pytest.raises(ValueError, match=r"the shape \(9,\) in 12 bytes"):
        read_array_pickle(tmp_path / "a.pkl")
