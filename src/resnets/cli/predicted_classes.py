"""Classes of images: printed, or written into a Parquet file of any size."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.errors import UserError
from ..deployment.graph.names import EngineName, is_exported
from ..reports.tables import duration
from .options import messages, print_json, print_text, results

if TYPE_CHECKING:
    from ..deployment.engines.engine import Engine
    from ..deployment.prediction.image_sets import Images
    from ..deployment.prediction.large_sets import Outcome
    from .predict_options import PredictOptions

_SECONDS_BETWEEN_LINES = 5.0


def predict_classes(options: PredictOptions, path: Path) -> int:
    """Carries out `resnets predict` for a classifier; the status is 1 where an image could not be read."""
    _check(options)
    from ..deployment.prediction.image_sets import open_images

    images = open_images(options.images)
    return _to_terminal(options, path, images) if options.output is None else _to_file(options, path, images, options.output)


def _check(options: PredictOptions) -> None:
    if options.top < 1 or options.batch_size < 1:
        raise UserError("--top and --batch-size are at least 1")
    if options.workers is not None and options.workers < 0:
        raise UserError(f"--workers {options.workers}: there are 0 or more processes")
    for_files = {"--probabilities": options.probabilities, "--features": options.features, "--restart": options.restart}
    alone = [name for name, given in for_files.items() if given] + ["--engine ray"] * (options.engine == "ray")
    if options.output is None and alone:
        raise UserError(f"{alone[0]} goes with --output FILE.parquet")
    if options.output is not None and options.output.suffix.lower() != ".parquet":
        raise UserError(f"--output {options.output}: predictions are written to Parquet; name a file that ends in .parquet")
    if options.features is not None and options.engine not in ("auto", "ray", "torch"):
        raise UserError(f"the engine {options.engine} gives logits alone; --features go with --engine torch")


def _engine(options: PredictOptions, path: Path, count: int) -> Engine:
    """For `count` images in this process."""
    from ..deployment.engines.choice import FEW
    from ..deployment.engines.opening import open_engine
    from ..training.session import choose_device

    assert options.engine != "ray"
    here = options.engine in ("auto", "torch", "torch-compile")
    return open_engine(
        path,
        engine=_for_features(options, path) or options.engine,
        precision=options.precision,
        device=choose_device(options.device) if here else "cpu",
        count=count,
        exact=count < FEW,
        report=_say,
    )


def _for_features(options: PredictOptions, path: Path) -> EngineName | None:
    """The engine that has the maps of stages, where these are asked for."""
    if options.features is not None and is_exported(path):
        raise UserError(f"{path} gives logits alone; --features need the model file that it was made from")
    return None if options.features is None else "torch"


def _workers(options: PredictOptions, count: int) -> int:
    from ..data.workers.batches import default_workers
    from ..deployment.engines.choice import FEW

    if options.workers is not None:
        return options.workers
    return 0 if count < FEW else default_workers()


def _say(words: str) -> None:
    messages().print(words, soft_wrap=True, markup=False)


def _to_terminal(options: PredictOptions, path: Path, images: Images) -> int:
    from ..deployment.prediction.predict import predict

    engine = _engine(options, path, len(images))
    workers, bad = _workers(options, len(images)), 0
    for prediction in predict(engine, images, top=options.top, batch_size=options.batch_size, workers=workers, report=_say):
        if options.json:
            print_json(prediction.as_json())
        elif prediction.error is None:
            print_text(f"{prediction.path}  " + "  ".join(f"{label} {100 * share:.1f}%" for label, share in prediction.top))
        if prediction.error is not None:
            bad += 1
            _say(f"skipped {prediction.path}: {prediction.error}")
    if bad:
        _say(f"{bad} of {len(images)} images could not be read")
    return 1 if bad else 0


def _to_file(options: PredictOptions, path: Path, images: Images, output: Path) -> int:
    from ..deployment.prediction.large_sets import Columns, predict_to_file

    columns = Columns(options.top, options.probabilities, options.features)
    began = time.perf_counter()
    with _shown_progress() as progress:
        if options.engine == "ray":
            outcome = _by_cluster(options, path, images, output, progress)
        else:
            outcome = predict_to_file(
                _engine(options, path, len(images)), path, images, output, columns=columns, batch_size=options.batch_size,
                workers=_workers(options, len(images)), restart=options.restart, report=_say, progress=progress,
            )  # fmt: skip
    seconds, fresh = time.perf_counter() - began, outcome.images - outcome.resumed_at
    if options.json:
        print_json(
            {
                "path": str(output),
                "images": outcome.images,
                "unreadable": outcome.unreadable,
                "resumed_at": outcome.resumed_at,
                "images_per_second": fresh / seconds if fresh else None,
            }
        )
    else:
        speed = f" in {duration(seconds)} ({fresh / seconds:,.0f} images/s)" if fresh else ""
        results().print(f"{outcome.images:,} images to {output}{speed}", soft_wrap=True, markup=False)
    _list_unreadable(outcome)
    return 1 if outcome.unreadable else 0


def _by_cluster(options: PredictOptions, path: Path, images: Images, output: Path, progress: Callable[[int, int], None]) -> Outcome:
    """What --engine ray does."""
    from ..deployment.engines.choice import FEW
    from ..deployment.engines.opening import open_engine
    from ..deployment.prediction.large_sets import Columns, predict_to_file
    from ..deployment.prediction.large_sets_ray import Opening, cluster, tables_of
    from ..deployment.prediction.scores import Scorer

    columns = Columns(options.top, options.probabilities, options.features)
    with cluster(options.device) as found:
        count = -(-len(images) // found.workers)
        # Opened here first: for what it knows of the network, and so that one choice holds for all.
        engine = open_engine(
            path,
            engine=_for_features(options, path) or ("torch" if found.gpus and not is_exported(path) else "auto"),
            precision="bf16" if options.precision == "auto" and found.gpus else options.precision,
            count=count,
            exact=count < FEW,
            report=_say,
        )
        opening = Opening(path.resolve(), engine.name, engine.precision, count < FEW, columns, options.batch_size)
        _say(f"{found.workers} workers of a Ray cluster with {found.cpus} cores and {found.gpus} GPUs")
        schema = columns.schema(Scorer(engine, top=columns.top, stage=columns.stage))
        return predict_to_file(
            engine, path, images, output, columns=columns, batch_size=options.batch_size, restart=options.restart,
            tables=tables_of(found, opening, images, schema), report=_say, progress=progress,
        )  # fmt: skip


_LISTED = 20
"""Unreadable images that are named."""


def _list_unreadable(outcome: Outcome) -> None:
    """Names the first images that could not be read; all of them are in the file."""
    if not outcome.unreadable:
        return
    from ..deployment.prediction.parquet import unreadable

    for path, error in unreadable(outcome.output, _LISTED):
        _say(f"skipped {path}: {error}")
    more = f"; all of them are the rows of {outcome.output} that have an error" if outcome.unreadable > _LISTED else ""
    _say(f"{outcome.unreadable:,} of {outcome.images:,} images could not be read{more}")


@contextmanager
def _shown_progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = messages()
    bar = Progress(
        TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn(compact=True),
        TextColumn("left"), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task("images", total=None, speed="")
    first: tuple[float, int] | None = None
    said = time.perf_counter()

    def tell(done: int, total: int) -> None:
        nonlocal first, said
        now = time.perf_counter()
        if first is None:  # what was done before does not count towards the speed
            first = now, done
            bar.update(task, completed=done, total=total)
            return
        speed = (done - first[1]) / (now - first[0])
        bar.update(task, completed=done, total=total, speed=f"{speed:,.0f} images/s")
        if not console.is_terminal and now - said > _SECONDS_BETWEEN_LINES:
            said = now
            _say(f"{done:,} of {total:,} images, {speed:,.0f} images/s, {duration((total - done) / speed)} left")

    with bar:
        yield tell
