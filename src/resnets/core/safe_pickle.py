"""Pickles of numpy arrays, read as data: the format of detectron2's and Caffe2's released `.pkl` files, and of CIFAR's batches.

A pickle is a program that may call any function by its name. Here the only names are those with which numpy writes an array, and even
they lead to stand-ins of ours, which check what they are given: numpy itself is called once the whole file has been read. Everything
else, the loading of any other name included, ends the reading before it could run.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy

from .errors import UserError
from .reading import TABLE_LIMIT, read_file

_KINDS = {
    f"{kind}{size}" for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items() for size in sizes
}


class _Forbidden(pickle.UnpicklingError):
    """The pickle asks for something that is no array."""


class _StandIn:
    """What stands for a name of numpy's; calling it checks its arguments and calls nothing of numpy."""

    __slots__ = ()
    harmless = True

    def fill_state(self, state: object) -> None:
        """As the pickle's BUILD does."""
        if (fill := getattr(self, "__setstate__", None)) is not None:
            fill(state)


# The stand-ins have empty slots and are instances, not classes: a pickle can set attributes of whatever it was given by name.


class _Dtype(_StandIn):
    __slots__ = ("value",)

    def __init__(self, code: object) -> None:
        if not isinstance(code, str) or code.lstrip("<>|=") not in _KINDS:
            raise _Forbidden(f"an array of the type {code!r}, not of numbers")
        self.value = numpy.dtype(code)

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "=")):
            raise _Forbidden("a type of array elements that is no plain number")
        self.value = self.value.newbyteorder(state[1])


class _Array(_StandIn):
    """An array that is filled by __setstate__ (version, shape, dtype, Fortran order, bytes)."""

    __slots__ = ("value",)

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise _Forbidden("an array in a form that numpy does not write")
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: object, dtype: object, shape: object, order: object) -> _Array:
        if isinstance(content, str):  # as a Python 2 pickle's bytes are read
            content = content.encode("latin1")
        if not isinstance(content, bytes | bytearray) or not isinstance(dtype, _Dtype) or order not in ("C", "F"):
            raise _Forbidden("an array whose content is not the bytes of numbers")
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise _Forbidden(f"an array of the shape {shape!r}")
        if math.prod(shape) * dtype.value.itemsize != len(content):
            raise _Forbidden(f"an array of the shape {shape} in {len(content)} bytes")
        array = numpy.frombuffer(bytes(content), dtype.value).reshape(shape, order=order)
        self.value = array.astype(dtype.value.newbyteorder("="))  # native order, and memory of its own
        return self


class _NdarrayName(_StandIn):
    __slots__ = ()


class _Reconstruct(_StandIn):
    __slots__ = ()

    def __call__(self, subtype: object, shape: object, code: object) -> _Array:
        if not isinstance(subtype, _NdarrayName):
            raise _Forbidden("a subclass of numpy's array")
        return _Array()


class _FromBuffer(_StandIn):
    __slots__ = ()

    def __call__(self, content: object, dtype: object, shape: object, order: object) -> _Array:
        return _Array().fill(content, dtype, shape, order)


class _MakeDtype(_StandIn):
    __slots__ = ()

    def __call__(self, code: object, *flags: object) -> _Dtype:
        return _Dtype(code)


class _Encode(_StandIn):
    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise _Forbidden(f"text in the encoding {encoding!r}")
        return text.encode("latin1")


class _EmptyBytes(_StandIn):
    """Old protocols write an empty array's content as a call of `bytes` without arguments."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


def _allowed(module: str, name: str) -> Any:
    """The stand-in for a name, or None."""
    core = module in ("numpy.core.multiarray", "numpy._core.multiarray")
    if core and name == "_reconstruct":
        return _Reconstruct()
    if module in ("numpy.core.numeric", "numpy._core.numeric") and name == "_frombuffer":
        return _FromBuffer()
    names = {
        ("numpy", "ndarray"): _NdarrayName,
        ("numpy", "dtype"): _MakeDtype,
        ("_codecs", "encode"): _Encode,
        ("__builtin__", "bytes"): _EmptyBytes,
    }
    if (module, name) == ("collections", "OrderedDict"):
        return OrderedDict
    return names[module, name]() if (module, name) in names else None


def stand_in_for_arrays(module: str, name: str) -> Any:
    """The stand-in for a name with which numpy writes an array, or None; `OrderedDict` is none of them."""
    return None if (module, name) == ("collections", "OrderedDict") else _allowed(module, name)


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _allowed(module, name)
        if found is None:
            raise _Forbidden(f"the name {module}.{name}")
        return found

    def persistent_load(self, pid: object) -> Any:
        raise _Forbidden("an object that is outside the file")


def read_array_pickle(path: Path) -> Any:
    """The dicts, lists, numbers, texts and numpy arrays in a pickle. Nothing in it is run.

    Raises:
        ValueError: the pickle asks for anything else (the message names it), or is damaged.
        OSError: no such file.
    """
    return unpickle_arrays(read_file(path, limit=TABLE_LIMIT), str(path))


def unpickle_arrays(content: bytes, name: str) -> Any:
    """As `read_array_pickle`, of a pickle's bytes; `name` says in messages whose they are."""
    try:
        # latin1 keeps the bytes of a Python 2 pickle as they are, as numpy advises
        read = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
        return _plain(read)
    except _Forbidden as error:
        raise UserError(
            f"{name} holds {error}: only dicts, numbers, texts and numpy arrays of numbers are read from a pickle, because "
            "anything else could run code. Nothing of it was run. If you trust the file, save its tensors as .safetensors with "
            "the program that made it"
        ) from None
    except RecursionError:
        raise UserError(f"{name} is nested more deeply than any file of weights") from None
    except Exception as error:  # a damaged pickle makes the unpickler fail in many ways, all of them about the file
        raise UserError(f"{name} is not a pickle of arrays, or it is damaged: {error or type(error).__name__}") from None


def _plain(value: Any) -> Any:
    """`value` with numpy arrays in the place of the stand-ins."""
    if isinstance(value, _Array):
        if not hasattr(value, "value"):
            raise _Forbidden("an array without content")
        return value.value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise _Forbidden(f"a {type(value).__name__}")
