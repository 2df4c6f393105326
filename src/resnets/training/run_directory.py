"""The directory of a run: its files by name, claimed by the one process that trains in it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from ..core.claims import LOCK, hold, new_folder
from ..core.errors import UserError
from ..core.files import write_atomically
from ..core.text import to_json
from .base_recipe import AnyRecipe, RunRecipe, read_run_recipe


class RunDirectory:
    """The files of one run; every file but metrics.jsonl is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe, self.metrics = path / "recipe.yaml", path / "metrics.jsonl"
        self.checkpoint, self.report = path / "checkpoint.pt", path / "report.html"
        self.model, self.best = path / "model.safetensors", path / "best.safetensors"
        self.initial = path / "initial.safetensors"
        self.data, self.environment = path / "data.json.gz", path / "environment.json"
        self._waiting: list[str] = []

    @classmethod
    def create(cls, recipe: RunRecipe, claims: ExitStack, report: Callable[[str], None] = lambda message: None) -> RunDirectory:
        """A new directory with its recipe, the one that the recipe names or the next free runs/NAME-k; it is claimed until `claims` are
        closed.

        Raises:
            ValueError: the directory holds a run already.
            InUse: another process is at work in it.
            OSError: it cannot be made or written to; a directory made here is taken away again.
        """
        path, made = recipe.output or Path("runs") / recipe.name, False
        with ExitStack() as undone:
            try:
                if recipe.output is None:
                    path, made = new_folder(path.parent, recipe.name), True
                else:
                    made = not path.exists()
                    path.mkdir(parents=True, exist_ok=True)
                run = cls(path)
                undone.enter_context(run.claimed(report))
                if run.recipe.exists():
                    raise UserError(
                        f"{path} holds a run already; name another --output, or go on with it: "
                        f"resnets {recipe.command} --resume {path}"
                    )
                write_atomically(run.recipe, recipe.updated(output=path).to_yaml())
            except OSError as error:
                undone.close()
                if made:
                    with suppress(OSError):
                        path.rmdir()
                raise type(error)(error.errno, f"cannot make the run directory {path}: {error.strerror or error}") from None
            claims.push(undone.pop_all())
        return run

    def claimed(self, report: Callable[[str], None]) -> AbstractContextManager[None]:
        """Only one process at a time works in the directory, see `core.claims.hold`."""
        advice = "wait for it, stop it, or name another --output"
        return hold(self.path / LOCK, self.path, report, advice=advice)

    def read_recipe(self, kind: type[AnyRecipe]) -> AnyRecipe:
        """The run's recipe, whose output is this directory wherever it is now.

        Raises:
            ValueError: this is no run directory.
        """
        if not self.recipe.is_file():
            raise UserError(f"{self.path} is no run directory: it holds no recipe.yaml")
        return read_run_recipe(self.recipe, kind).updated(output=self.path)

    def clean(self) -> None:
        """Takes away what a killed process left half written."""
        for leftover in (*self.path.glob(".*.part"), self.checkpoint.with_stem("checkpoint-next")):
            leftover.unlink(missing_ok=True)

    def events(self) -> list[dict[str, Any]]:
        """The logged lines; a line cut short by a crash ends those in the file."""
        lines: list[dict[str, Any]] = []
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    lines.append(json.loads(line))
                except json.JSONDecodeError:
                    break
        return lines + [json.loads(line) for line in self._waiting]

    def rewind(self, step: int) -> None:
        """Forgets the lines after `step`, which a resumed run writes again."""
        kept = [event for event in self.events() if event["step"] <= step and event["event"] != "done"]
        write_atomically(self.metrics, "".join(to_json(event) + "\n" for event in kept))

    def log(self, event: dict[str, Any]) -> None:
        """Appends one line, after those that could not be written before.

        Raises:
            OSError: it cannot be written; it is kept, and the file is as it was.
        """
        self._waiting.append(to_json(event) + "\n")
        self.write_log()

    def write_log(self) -> None:
        """Writes the lines that wait; raises as `log`."""
        if not self._waiting:
            return
        with self.metrics.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            content = memoryview("".join(self._waiting).encode())
            try:
                while content:
                    content = content[file.write(content) :]
            except OSError as error:
                file.truncate(before)
                raise type(error)(error.errno, f"could not write {self.metrics}: {error.strerror or error}") from error
        self._waiting.clear()
