"""The graph that is quantized, and what has to stay in float around a layer that does.

Legend: a map is what one operation of the graph hands to others; a layer is a convolution or a linear layer of the network.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

from torch import nn

from ...networks import Network
from ...networks.stems import MaxPoolReLU
from ..engines.engine import Engine
from ..graph.description import Description
from ..graph.folding import Folding, fold

Kind = Literal["layer", "passing", "other"]


@dataclass(frozen=True)
class Operation:
    """One operation of a runtime's graph."""

    name: str
    kind: Kind
    """layer: of the network. passing: what it puts out has its input's scale (ReLU, max pool). other: sums, averages, ..."""
    inputs: tuple[str, ...]
    """Names of the operations whose results it takes; constants and the graph's own input are none."""
    layer: str | None = None
    """The network's module that it is, by name."""


@dataclass(frozen=True)
class Convolutions:
    """How a runtime really executes the convolutions of a graph."""

    integer: int
    """In eight-bit integers."""
    total: int


class Form(ABC):
    """A network in a runtime, in float and as int8."""

    makers: ClassVar[bool]
    """Whether a layer before a float one has to stay in float, too; see `kept_in_float`."""
    engine: Engine
    """The runtime with the graph in float32."""
    operations: tuple[Operation, ...]
    """Of the graph in float32."""

    @abstractmethod
    def quantized(self, float_layers: Collection[str]) -> dict[str, bytes]:
        """The files (suffix -> content) of the graph in int8, in which these layers stay in float."""

    @abstractmethod
    def described(self, contents: dict[str, bytes], description: Description) -> dict[str, bytes]:
        """The files with this description of the network in them."""

    @abstractmethod
    def opened(self, contents: dict[str, bytes], file: str) -> Engine:
        """The runtime with these files."""

    @abstractmethod
    def convolutions(self, contents: dict[str, bytes], engine: Engine) -> Convolutions:
        """How the runtime executes the convolutions of these files, which `engine` runs."""

    def expected(self, kept: Collection[str], kinds: Collection[str]) -> int:
        """Convolutions that ought to be integer when the operations called `kept` stay in float; `kinds` are layers of convolutions."""
        return sum(op.layer in kinds and op.name not in kept for op in self.operations)


def prepared(network: Network) -> tuple[Network, Folding]:
    """A copy for integers: norms folded, and a ReLU before a max pool instead of after it. Both orders give the same, but here the
    ReLU becomes part of the convolution, so that its map is stored and pooled in bytes and never in float."""
    copied, folding = fold(network)
    copied = copied.cpu().float()
    pool = copied.pool
    if isinstance(pool, MaxPoolReLU):
        copied.pool = nn.Sequential(pool.relu, pool.pool)
    return copied, folding


def kept_in_float(operations: Sequence[Operation], layers: Collection[str], *, makers: bool) -> frozenset[str]:
    """Names of the operations that may not be quantized when these layers stay in float.

    A layer in float gains nothing where a neighbour quantizes the map that it takes. Therefore the sums that make or take that map stay in
    float with it, and with `makers` also the layers that make or take it: a runtime whose integer convolution always puts out integers,
    such as onnxruntime, cannot hand a float map on from one.
    """
    by_name = {op.name: op for op in operations}
    readers: dict[str, list[str]] = {}
    for op in operations:
        for source in op.inputs:
            readers.setdefault(source, []).append(op.name)
    kept = {op.name for op in operations if op.layer in layers and op.layer is not None}
    around: set[str] = set()
    for name in kept:
        for source in by_name[name].inputs:
            while by_name[source].kind == "passing" and by_name[source].inputs:
                source = by_name[source].inputs[0]
            reached, waiting = {source}, [source]
            while waiting:
                for reader in readers.get(waiting.pop(), ()):
                    if reader not in reached:
                        reached.add(reader)
                        if by_name[reader].kind == "passing":
                            waiting.append(reader)
            around |= reached
    return frozenset(
        kept | {name for name in around if by_name[name].kind == "other" or (makers and by_name[name].kind == "layer")}
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the progress bars, notes and warnings of the packages that quantize from the user's terminal; their errors are exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(before)


def import_nncf() -> Any:
    """The package nncf, which otherwise tells its makers that it was imported: this variable is its own way of asking it not to."""
    name = "NNCF_CI"
    before = os.environ.get(name)
    os.environ[name] = before or "1"
    try:
        with quiet():
            nncf = import_module("nncf")
    finally:
        if before is None:
            del os.environ[name]
    return nncf
