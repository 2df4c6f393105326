"""Prediction over sets of any size, into one Parquet file: memory holds a part of it, and a process that is killed goes on where it was.

Legend: N images, K classes, D channels of the stage whose features are written. Rows are made batch by batch, here or by the machines of
a cluster (`large_sets_ray`), and gather in parts (`parts`), each of whole batches, so that the rows are the same however often the work
was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.claims import hold_file
from ...core.environment import installed_version
from ...data.sources.files import sha256
from ..engines.engine import Engine
from .image_sets import Images
from .output_parts import PART_ROWS, Parts, Work
from .parquet import rows_of, rows_schema
from .reading import read_batches
from .scores import Scorer

Tables = Callable[[int], Iterator[Any]]
"""Gives the rows of all images from one on, in order, as tables."""


@dataclass(frozen=True)
class Columns:
    """What is written of each image beside its path, its label and its error."""

    top: int = 1
    """Classes that are named."""
    probabilities: bool = False
    """Those of all K classes."""
    stage: str | None = None
    """The stage whose map, averaged over height and width, is written as D features; None for none."""

    def schema(self, scorer: Scorer) -> Any:
        """Of the rows."""
        return rows_schema(probabilities=self.probabilities, width=scorer.width)


@dataclass(frozen=True)
class Outcome:
    """What was done."""

    output: Path
    images: int
    unreadable: int
    resumed_at: int
    """Images that were done before; N where the whole file was there already."""


def predict_to_file(
    engine: Engine,
    model: Path,
    images: Images,
    output: Path,
    *,
    columns: Columns | None = None,
    batch_size: int = 64,
    workers: int = 0,
    restart: bool = False,
    tables: Tables | None = None,
    report: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Outcome:
    """Predictions for all images as rows of the Parquet file `output`.

    Until it is whole its parts are in the folder OUTPUT.parts beside it, which is then removed; a call with the same arguments goes on with
    what is there. The schema's metadata says, as JSON under "resnets", which model and which options made the file.

    Args:
        engine: runs the model.
        model: its file, by whose content a later call knows that it is the same one.
        columns: what is written; None for the likeliest class.
        batch_size: images at a time; the results of another one differ by rounding.
        workers: processes that decode ahead; 0 for none but this one.
        restart: throw away what is there of the output and of its parts.
        tables: gives the rows in the place of this process.
        report: told of decoding processes that died, and of what is there already.
        progress: told how many images are done, and N.

    Raises:
        ValueError: a network without classes or the stage, pyarrow is missing, or the output or its parts are of another work.
        InUse: another process writes the output.
        OSError: something cannot be read or written; the parts stay.
    """
    columns = columns or Columns()
    scorer = Scorer(engine, top=columns.top, stage=columns.stage)
    schema = columns.schema(scorer)
    work = Work(
        model=model_digest(model),
        images=images.digest(),
        count=len(images),
        engine=engine.name,
        precision=engine.precision,
        top=scorer.top,
        probabilities=columns.probabilities,
        features=columns.stage,
    )
    part_rows = max(1, PART_ROWS // batch_size) * batch_size
    with hold_file(output, report):
        parts = Parts(output, work, schema, part_rows=part_rows, restart=restart)
        if parts.complete:
            report(f"{output} is there already, made with this model from these images; --restart makes it anew")
            return Outcome(output, *parts.counts(), resumed_at=len(images))
        start = parts.done()
        if start:
            report(f"{start:,} of {len(images):,} images were done before")
        progress(start, len(images))
        if start < len(images):
            if tables is None:
                tables = tables_here(scorer, images, schema, batch_size=batch_size, workers=workers, report=report)
            for done in parts.write(tables(start), start):
                progress(done, len(images))
        counts = parts.finish(_about(engine, model, work))
    return Outcome(output, *counts, resumed_at=start)


def tables_here(
    scorer: Scorer, images: Images, schema: Any, *, batch_size: int, workers: int, report: Callable[[str], None]
) -> Tables:
    """Rows made by this process, with others that decode for it."""

    def tables(start: int) -> Iterator[Any]:
        batches = read_batches(images, scorer.preprocessing, batch_size=batch_size, start=start, workers=workers, report=report)
        for batch in batches:
            yield rows_of(batch, scorer(batch.pixels), scorer.classes, schema)

    return tables


def model_digest(model: Path) -> str:
    """The SHA-256 of a model's file; of OpenVINO's two files, one followed by the other's."""
    weights = model.with_suffix(".bin")
    return sha256(model) + (f" {sha256(weights)}" if model.suffix.lower() == ".xml" and weights.is_file() else "")


def _about(engine: Engine, model: Path, work: Work) -> dict[str, Any]:
    """What the file says of how it was made."""
    assert engine.preprocessing is not None  # no images are predicted without
    return {
        "resnets": installed_version("resnets"),
        "model": {"file": model.name, "sha256": work.model},
        "network": engine.description.provenance.get("network"),
        "spec": engine.spec.model_dump(mode="json"),
        "classes": list(engine.classes or ()),
        "preprocessing": engine.preprocessing.model_dump(mode="json"),
        "features": work.features,
        "engine": engine.version,
        "precision": engine.precision,
    }
