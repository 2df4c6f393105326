"""Prediction by the machines of a Ray cluster, through Ray Data: each row of its data set says which images to read.

Legend: N images, b rows of a batch. The machines read images and model by the paths that this one knows, on storage that all of them
share. What comes back are the tables that one machine would make, in their order; this process alone writes.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.optional import arrow
from ..engines.engine import needed
from ..engines.opening import open_engine
from ..graph.names import EngineName
from .image_sets import Images
from .large_sets import Columns, Tables
from .parquet import rows_of
from .reading import read_batches
from .scores import Scorer

_BATCHES = 8
"""Of a row of the data set at most, so that reading is ahead of the network within it."""
_ROUNDS = 4
"""Rows for each worker at least, so that none waits long for the slowest."""


@dataclass(frozen=True)
class Cluster:
    """What a Ray cluster has."""

    cpus: int
    gpus: int

    @property
    def workers(self) -> int:
        """Processes that hold the network: one for each GPU, or for each core."""
        return self.gpus or max(1, self.cpus)

    @property
    def cores(self) -> int:
        """That each of them may use."""
        return max(1, self.cpus // self.gpus) if self.gpus else 1


@contextmanager
def cluster(device: str = "auto") -> Iterator[Cluster]:
    """The cluster at RAY_ADDRESS, or one that runs on this machine, or else a new one of this machine alone, which ends with the block.

    Args:
        device: "cpu" leaves its GPUs alone; "cuda" asks for them; "auto" takes them if it has any.

    Raises:
        ValueError: Ray is not installed, the device is no such name, or no GPU is there though asked for.
        ConnectionError: nothing answers at RAY_ADDRESS.
    """
    needed("ray", "ray")
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {device} does not go with --engine ray; choose auto, cpu or cuda")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # this package tells nobody that it is used
    ray: Any = import_module("ray")
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0)) if device != "cpu" else 0
        if device == "cuda" and not gpus:
            raise UserError("--device cuda: no machine of the Ray cluster has a GPU")
        yield Cluster(int(found.get("CPU", 1)), gpus)
    finally:
        if ours:
            ray.shutdown()


@dataclass(frozen=True)
class Opening:
    """How each worker opens the network, and what it makes of it."""

    model: Path
    engine: EngineName
    precision: str
    exact: bool
    columns: Columns
    batch_size: int


class _Worker:
    """A process of the cluster that holds the network."""

    def __init__(self, opening: Opening, cluster: Cluster, folder: str) -> None:
        with suppress(OSError):  # relative paths mean the same here as where the command was given; absolute ones do anyway
            os.chdir(folder)
        self.batch_size, self.decoders = opening.batch_size, cluster.cores - 1
        engine = open_engine(
            opening.model,
            engine=opening.engine,
            precision=opening.precision,
            threads=cluster.cores,
            device="cuda" if cluster.gpus else "cpu",
            exact=opening.exact,
        )
        self.scorer = Scorer(engine, top=opening.columns.top, stage=opening.columns.stage)
        self.schema = opening.columns.schema(self.scorer)

    def __call__(self, rows: Any) -> Iterator[Any]:
        """The tables of the images in `rows`, each with the column `number`, an image's place among all."""
        pa, _ = arrow()
        for row in rows.to_pylist():
            images: Images = pickle.loads(row["images"])  # our own process wrote them
            batches = read_batches(
                images, self.scorer.preprocessing, batch_size=self.batch_size, workers=self.decoders, threads=True
            )
            for batch in batches:
                table = rows_of(batch, self.scorer(batch.pixels), self.scorer.classes, self.schema)
                first = row["first"] + batch.first
                yield table.append_column("number", pa.array(range(first, first + table.num_rows), pa.int64()))


def tables_of(cluster: Cluster, opening: Opening, images: Images, schema: Any) -> Tables:
    """Rows made by the workers of a cluster, in the order of the images.

    The tables raise:
        ChildProcessError: a worker failed in a way that Ray could not make good.
    """

    def tables(start: int) -> Iterator[Any]:
        ray: Any = import_module("ray")
        import_module("ray.data")
        batches = -(-(len(images) - start) // opening.batch_size)
        step = opening.batch_size * min(_BATCHES, max(1, batches // (_ROUNDS * cluster.workers)))
        items = [
            {"first": first, "images": pickle.dumps(images.part(first, min(first + step, len(images))))}
            for first in range(start, len(images), step)
        ]
        _quiet(ray.data)
        data = ray.data.from_items(items, override_num_blocks=len(items))
        data.context.execution_options.preserve_order = True
        rows = data.map_batches(
            _Worker,
            fn_constructor_args=(opening, cluster, os.getcwd()),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(cluster.workers, len(items))),
            num_cpus=cluster.cores,
            num_gpus=1 if cluster.gpus else 0,
        )
        expected = start
        try:
            for table in rows.iter_batches(batch_size=None, batch_format="pyarrow"):
                numbers = table["number"].to_pylist()
                assert numbers == list(range(expected, expected + len(numbers))), "Ray Data gave the rows in another order"
                expected += len(numbers)
                yield table.select(schema.names).cast(schema)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            words = " ".join(str(cause).split())
            raise ChildProcessError(
                f"a worker of the Ray cluster failed: {words}; the same command goes on with what is done"
            ) from error

    return tables


def _quiet(data: Any) -> None:
    """Ray Data's own bars and messages would be mixed with ours."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
