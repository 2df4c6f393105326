"""The folder beside a prediction's output in which its parts gather, so that a process that is killed loses one part at most.

Legend: N images, P rows of every part but the last. Part i holds the rows from i P on; each is written whole or not at all, in their
order, so that the parts that are there say how far the work has come.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from ...core.errors import UserError
from ...core.files import write_atomically
from ...core.optional import arrow
from .parquet import METADATA, write_rows, write_together

PART_ROWS = 4096
"""P, but for what makes it a multiple of the batch size."""


class Work(BaseModel):
    """What a prediction's rows depend on; parts of different works are never mixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    model: str
    """SHA-256 of the model's file."""
    images: str = Field(validation_alias=AliasChoices("images", "pictures"))
    """`Images.digest`."""
    count: int
    """N."""
    engine: str
    precision: str
    top: int
    probabilities: bool
    features: str | None

    def differences(self, other: Work) -> str:
        """In which fields the works differ, for a person."""
        fields = [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]
        return ", ".join(
            f"another {name}" if name == "model" else "other images" if name == "images" else
            f"{name} {getattr(self, name)} and not {getattr(other, name)}"
            for name in fields
            if name != "count" or "images" not in fields
        )  # fmt: skip


class Parts:
    """The parts of one work, in the hands of one process: whoever makes it holds the lock of the output (`core.claims.hold_file`).

    Args:
        output: the whole file.
        work: what its rows depend on.
        schema: of the rows.
        part_rows: P, for a work that begins; one that goes on keeps its own.
        restart: throw away what was there.

    Raises:
        ValueError: the folder, or the output, is of another work.
        OSError: they cannot be read or written.
    """

    def __init__(self, output: Path, work: Work, schema: Any, *, part_rows: int = PART_ROWS, restart: bool = False) -> None:
        self.output, self.work, self.schema = output, work, schema
        self.folder = output.with_name(f"{output.name}.parts")
        self.part_rows = part_rows
        description = self.folder / "work.json"
        if output.is_dir():
            raise UserError(f"{output} is a folder; --output names the file that is to be written")
        self.complete = output.exists() and not restart and not description.exists()
        """Whether the output is this work's already. Where the folder is there, too, it is that of a work which --restart began."""
        if self.complete:
            self._check_output()
            shutil.rmtree(self.folder, ignore_errors=True)  # a process that was killed had begun to
            return
        self.folder.mkdir(exist_ok=True)
        if restart:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        for left in self.folder.glob(".*.part"):  # what a killed process was writing
            left.unlink()
        if description.exists():
            self.part_rows = self._rows_of(description)
        else:
            write_atomically(description, json.dumps({"part_rows": part_rows, **work.model_dump()}, indent=1))

    def _check_output(self) -> None:
        """Raises where the output is not of this work."""
        there = f"{self.output} is there already; --restart replaces it, or name another --output"
        try:
            _, parquet = arrow()
            found = json.loads((parquet.read_schema(self.output).metadata or {}).get(METADATA, b"{}")).get("work", {})
            before = Work.model_validate(found)
        except ValueError:  # no Parquet file, or not one of ours
            raise UserError(there) from None
        if before != self.work:
            raise UserError(f"{there}: it has {before.differences(self.work)}")

    def _rows_of(self, description: Path) -> int:
        """P of the work in the folder, which has to be this one."""
        other = "--restart throws it away, or name another --output"
        try:
            found = json.loads(description.read_text())
            part_rows = int(found.pop("part_rows"))
            before = Work.model_validate(found)
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
            raise UserError(f"{description} is damaged, or no beginning of a prediction; {other}") from None
        if before != self.work:
            raise UserError(
                f"{self.folder} holds the beginning of another prediction, with {before.differences(self.work)}; {other}"
            )
        return part_rows

    def path(self, part: int) -> Path:
        """Where a part is."""
        return self.folder / f"part-{part:06d}.parquet"

    def done(self) -> int:
        """How many rows are written: those of the parts that are there without a gap."""
        part = 0
        while part * self.part_rows < self.work.count and self.path(part).exists():
            part += 1
        return min(part * self.part_rows, self.work.count)

    def write(self, tables: Iterable[Any], start: int) -> Iterator[int]:
        """Writes the rows of tables, which follow those from 0 to `start`, and says after each table how many rows have come, written or
        waiting for the rest of their part.

        Raises:
            OSError: a part cannot be written.
        """
        pa, _ = arrow()
        waiting, written, come = [], start, start
        for table in tables:
            come += table.num_rows
            waiting.append(table)
            while come - written >= self.part_rows or (come == self.work.count and come > written):
                whole = pa.concat_tables(waiting)
                write_rows(self.path(written // self.part_rows), whole.slice(0, self.part_rows))
                waiting = [whole.slice(self.part_rows)]
                written += min(self.part_rows, whole.num_rows)
            yield come
        assert written == self.work.count

    def counts(self) -> tuple[int, int]:
        """The rows of the whole file, and those with an error.

        Raises:
            OSError: the file cannot be read.
        """
        _, parquet = arrow()
        errors = parquet.read_table(self.output, columns=["error"])["error"]
        return len(errors), len(errors) - errors.null_count

    def finish(self, about: dict[str, Any]) -> tuple[int, int]:
        """Puts the parts together to the output and removes the folder; gives the number of rows, and of those with an error.

        Raises:
            OSError: the output cannot be written; the parts stay.
        """
        parts = [self.path(part) for part in range(-(-self.work.count // self.part_rows))]
        whole = self.folder / "whole.parquet"
        metadata = json.dumps({**about, "work": self.work.model_dump()}, ensure_ascii=False).encode()
        counts = write_together(whole, parts, self.schema, metadata)
        os.replace(whole, self.output)
        (self.folder / "work.json").unlink()  # first: without it the output is what counts
        shutil.rmtree(self.folder)
        return counts
