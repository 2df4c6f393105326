"""Files of torch.save and torch.jit.save, read as data: the tensors in them, and the plain values around them.

A pickle is a program that calls what it names. Here every name is an inert stand-in: nothing is imported, nothing is called, and an object is
what was written of it - the class's name, the arguments, the state. So whole modules, optimizers and argument namespaces give up their
tensors, whoever's classes they are, and a hostile file gives up nothing.

The formats: a zip with NAME/data.pkl and a member of raw bytes for each storage (torch >= 1.6, and TorchScript), or five pickles and the
storages in a row (before). Values are checked against the bytes that are there before anything of their size is made.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.reading import TABLE_LIMIT
from ..core.safe_pickle import stand_in_for_arrays

LEGACY = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""torch's magic number, as its pickle of before 1.6 begins with it."""
_MOST_OPERATIONS, _MOST_VALUES, _MOST_DEPTH = 20_000_000, 2_000_000, 500
_TYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32,
    "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool, "Untyped": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """An object that was pickled: what was called, with what, and its state."""

    made_by: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    rows: list[Any] = field(default_factory=list)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, value: Any) -> None:
        self.rows.append(value)

    def extend(self, values: Any) -> None:
        self.rows.extend(values)

    def add(self, value: Any) -> None:
        self.rows.append(value)


@dataclass(eq=False)
class Storage:
    """Raw bytes, known by a key until they are read."""

    key: str
    dtype: torch.dtype
    content: bytearray | None = None


@dataclass(eq=False)
class Stored:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def tensor(self) -> Tensor:
        """The values, in memory of their own.

        Raises:
            UserError: the view reaches beyond the storage's bytes.
        """
        content = self.storage.content
        if content is None:
            raise UserError(f"the bytes of storage {self.storage.key!r} are missing")
        if not math.prod(self.sizes):
            return torch.empty(self.sizes, dtype=self.dtype)
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True))
        count = len(content) // self.dtype.itemsize
        if last >= count or math.prod(self.sizes) > max(count, 1) * 64:  # expanded tensors repeat their values, within reason
            raise UserError(f"a tensor of {list(self.sizes)} reaches beyond its {len(content):,} bytes")
        flat = torch.frombuffer(content, dtype=self.dtype, count=count)
        return flat.as_strided(self.sizes, self.strides, self.offset).clone(memory_format=torch.contiguous_format)


_Unpickler: Any = pickle.__dict__["_Unpickler"]
"""The one in Python, whose operations can be replaced."""


class _Reader(_Unpickler):  # type: ignore[misc]
    """Python's own unpickler, each way of which to call something makes an `Inert` instead."""

    dispatch: dict[int, Any]

    def __init__(self, content: io.BufferedIOBase, storage: Callable[[Any], Any]) -> None:
        super().__init__(content, encoding="latin1")
        self._storage = storage

    def load(self) -> Any:
        self.operations = 0
        original = self.dispatch
        reader = self

        class Counting(dict):  # type: ignore[type-arg]
            def __getitem__(self, operation: int) -> Any:
                reader.operations += 1
                if reader.operations > _MOST_OPERATIONS:
                    raise UserError("it is longer than any file of weights")
                return original[operation]

        self.dispatch = Counting()
        return super().load()

    def find_class(self, module: str, name: str) -> Any:
        return stand_in_for_arrays(module, name) or Name(module, name)

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)

    def get_extension(self, code: int) -> Any:
        raise UserError(f"extension {code} of the pickle protocol")


def _reduce(self: Any) -> None:
    arguments, function = self.stack.pop(), self.stack[-1]
    self.stack[-1] = _called(function, arguments)


def _newobj(self: Any) -> None:
    arguments, kind = self.stack.pop(), self.stack.pop()
    self.append(_called(kind, arguments))


def _newobj_ex(self: Any) -> None:
    named, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
    self.append(Inert(kind, (*arguments, named)))


def _build(self: Any) -> None:
    state = self.stack.pop()
    made = self.stack[-1]
    if isinstance(made, Inert):
        made.state = state
    elif not isinstance(made, Name | Storage | Stored | dict | list) and hasattr(type(made), "fill_state"):
        made.fill_state(state)


def _inst(self: Any) -> None:
    module, name = self.readline()[:-1].decode("ascii"), self.readline()[:-1].decode("ascii")
    arguments = self.pop_mark()
    self.append(_called(self.find_class(module, name), tuple(arguments)))


def _obj(self: Any) -> None:
    kind, *arguments = self.pop_mark()
    self.append(_called(kind, tuple(arguments)))


_Reader.dispatch = {
    **_Unpickler.dispatch,
    pickle.REDUCE[0]: _reduce,
    pickle.NEWOBJ[0]: _newobj,
    pickle.NEWOBJ_EX[0]: _newobj_ex,
    pickle.BUILD[0]: _build,
    pickle.INST[0]: _inst,
    pickle.OBJ[0]: _obj,
}


def _called(function: Any, arguments: Any) -> Any:
    """What a call of a named thing gives: tensors and the plain containers that files of weights hold, or an inert record of the call."""
    arguments = tuple(arguments) if isinstance(arguments, tuple | list) else (arguments,)
    if not isinstance(function, Name):
        return function(*arguments) if getattr(type(function), "harmless", False) else Inert(function, arguments)
    where = function.module, function.name
    if where == ("collections", "OrderedDict"):
        pairs = arguments[0] if arguments else ()
        return (
            dict(pairs)
            if isinstance(pairs, list | tuple) and all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs)
            else {}
        )
    if function.module in ("torch._utils", "torch._tensor"):
        if function.name.startswith("_rebuild_tensor") and len(arguments) >= 4 and isinstance(arguments[0], Storage):
            storage, offset, sizes, strides = arguments[0], arguments[1], _sizes(arguments[2]), _sizes(arguments[3])
            named = arguments[6] if function.name.endswith("v3") and len(arguments) > 6 else None
            dtype = getattr(torch, named.name, None) if isinstance(named, Name) and named.module == "torch" else storage.dtype
            (offset,) = _sizes((offset,))
            if not isinstance(dtype, torch.dtype) or len(sizes) != len(strides):
                raise UserError("a tensor of an unknown type or shape")
            return Stored(storage, offset, sizes, strides, dtype)
        if function.name.startswith("_rebuild_parameter") and arguments:
            return arguments[0]
        if function.name == "_rebuild_from_type_v2" and len(arguments) >= 3:
            return _called(arguments[0], arguments[2])
    if where == ("torch", "Size") and arguments:
        return tuple(arguments[0])
    return Inert(function, arguments)


def _sizes(values: Any) -> tuple[int, ...]:
    found = tuple(values) if isinstance(values, tuple | list) else ()
    if any(type(number) is not int or not 0 <= number < 2**40 for number in found):
        raise UserError(f"{str(values)[:80]} are no sizes of a tensor")
    return found


def _described(pid: Any) -> Any:
    """The storage that a persistent id of torch's names: ("storage", type, key, location, count, ...)."""
    if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
        return pid[1]  # a class, whose source text is beside it in files of before 1.6
    if (
        not isinstance(pid, tuple)
        or len(pid) < 5
        or pid[0] != "storage"
        or not isinstance(pid[1], Name)
        or not isinstance(pid[2], str)
    ):
        raise UserError("an object that is outside the file")
    kind = pid[1].name.removesuffix("Storage")
    if kind not in _TYPES:
        raise UserError(f"tensors of the type {pid[1].name}")
    return Storage(pid[2], _TYPES[kind])


def read_torch(content: bytes) -> Any:
    """What a file of torch.save or torch.jit.save holds: containers, plain values, `Inert` objects and `Stored` tensors.

    Raises:
        UserError: it is no such file, or is damaged.
    """
    try:
        return _read_zip(content) if content.startswith(b"PK") else _read_legacy(content)
    except UserError:
        raise
    except RecursionError:
        raise UserError("it is nested more deeply than any file of weights") from None
    except Exception as error:  # damaged pickles and archives fail in many ways, all of them about the file
        raise UserError(f"it is damaged: {' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _read_zip(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickled = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickled) != 1 or len(members) != len(archive.infolist()):
            raise UserError("it is a zip, but not one of torch's")
        if sum(info.file_size for info in members.values()) > TABLE_LIMIT + 4 * len(content):
            raise UserError("it unpacks to far more than its size")
        root = pickled[0].removesuffix("data.pkl")
        swapped = f"{root}byteorder" in members and archive.read(f"{root}byteorder") == b"big"
        storages: dict[str, Storage] = {}

        def storage(pid: Any) -> Any:
            described = _described(pid)
            if not isinstance(described, Storage):
                return described
            if described.key not in storages:
                raw = bytearray(archive.read(members[f"{root}data/{described.key}"]))
                if swapped and described.dtype.itemsize > 1:
                    raw = bytearray(numpy.frombuffer(raw, f"u{described.dtype.itemsize}").byteswap().tobytes())
                described.content = raw
                storages[described.key] = described
            known = storages[described.key]
            return known if known.dtype == described.dtype else Storage(known.key, described.dtype, known.content)

        return _Reader(io.BytesIO(archive.read(members[pickled[0]])), storage).load()


def _read_legacy(content: bytes) -> Any:
    stream = io.BytesIO(content)
    storages: dict[str, list[Storage]] = {}

    def storage(pid: Any) -> Any:
        described = _described(pid)
        if not isinstance(described, Storage):
            return described
        storages.setdefault(described.key, []).append(described)
        return described

    if content[:32].find(LEGACY) < 0:
        return _Reader(stream, storage).load()  # a plain pickle
    for _ in range(3):  # magic number, protocol, machine
        _Reader(stream, storage).load()
    found = _Reader(stream, storage).load()
    for key in _Reader(stream, storage).load():
        count = int.from_bytes(stream.read(8), "little")
        waiting = storages.get(key, [])
        size = count * (waiting[0].dtype.itemsize if waiting else 1)
        if not waiting or size > len(content):
            raise UserError(f"storage {str(key)[:40]!r} is of a size that the file has not")
        raw = bytearray(stream.read(size))
        for each in waiting:
            each.content = raw
    return found


def tables(value: Any) -> Iterator[tuple[str, dict[str, Tensor | numpy.ndarray[Any, Any]]]]:
    """Every table of tensors by name in what was read, with the path that leads to it; modules are tables of all that is in them.

    Raises:
        UserError: there is more in it than in any file of weights.
    """
    seen: set[int] = set()
    visited = 0

    def walk(inside: Any, path: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal visited
        visited += 1
        if visited > _MOST_VALUES or depth > _MOST_DEPTH:
            raise UserError("it holds more values or levels than any file of weights")
        if not isinstance(inside, Mapping | Inert | list | tuple) or id(inside) in seen:
            return
        seen.add(id(inside))
        if isinstance(inside, Inert):
            module = dict(_of_module(inside, "", 0))
            if module:
                yield path, module
                return
            for each in (inside.state, inside.items, inside.arguments):
                yield from walk(each, path, depth + 1)
            return
        pairs = inside.items() if isinstance(inside, Mapping) else enumerate(inside)
        own = {}
        for key, item in pairs:
            if isinstance(item, Stored):
                own[str(key)] = item.tensor()
            elif hasattr(type(item), "harmless") and hasattr(item, "value") and isinstance(item.value, numpy.ndarray):
                own[str(key)] = torch.from_numpy(item.value)
            else:
                yield from walk(item, f"{path}{key}." if isinstance(inside, Mapping) else path, depth + 1)
        if own:
            yield path, own

    def _of_module(inside: Inert, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
        nonlocal visited
        state = inside.state if isinstance(inside.state, Mapping) else {}
        visited += 1
        if depth > _MOST_DEPTH or visited > _MOST_VALUES:
            raise UserError("it holds more values or levels than any file of weights")
        for kind in ("_parameters", "_buffers"):
            for name, item in state[kind].items() if isinstance(state.get(kind), Mapping) else ():
                if isinstance(item, Stored):
                    yield f"{prefix}{name}", item.tensor()
        children = dict(state["_modules"]) if isinstance(state.get("_modules"), Mapping) else {}
        script = str(getattr(inside.made_by, "module", "")).startswith("__torch__")
        for name, item in state.items() if script else ():
            if isinstance(item, Stored):
                yield f"{prefix}{name}", item.tensor()
            elif isinstance(item, Inert):
                children[name] = item
        for name, item in children.items():
            if isinstance(item, Inert) and id(item) not in seen:
                seen.add(id(item))
                yield from _of_module(item, f"{prefix}{name}.", depth + 1)

    yield from walk(value, "", 0)
