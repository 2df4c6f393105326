"""The proof that a run resumes exactly: the continued and the uninterrupted path side by side, compared by their fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .base_recipe import AnyRecipe
from .checkpoint import Position, fingerprint, load_checkpoint, previous
from .loop import make_step
from .origin import check_origin
from .run import AnyTask
from .run_directory import RunDirectory
from .session import OpenSession, open_session


@dataclass(frozen=True)
class Proof:
    """What both paths came to."""

    begun: int
    """Step after which the uninterrupted path began: that of the previous checkpoint, or 0."""
    checkpoint: int
    """Step after which the continued path began: that of the newest checkpoint."""
    end: int
    """Step after which both ended."""
    continued: tuple[str, str]
    """Fingerprints (SHA-256) of the state after `checkpoint` and `end`, on the continued path."""
    uninterrupted: tuple[str, str]
    """The same on the uninterrupted path."""

    @property
    def holds(self) -> bool:
        """Whether both paths are the same, bit for bit, at both places."""
        return self.continued == self.uninterrupted


def prove(task: AnyTask[AnyRecipe], directory: Path, steps: int, report: Callable[[str], None]) -> Proof:
    """Compares `steps` steps after the newest checkpoint of the run in `directory` with the same steps on a path that never loaded it.

    The uninterrupted path begins at the checkpoint before, or at the start of the run where there is none, and runs through the newest
    one's step. The run itself is left as it is.

    Raises:
        ValueError: there is no such run, or a checkpoint is damaged.
        FileNotFoundError: the run has no checkpoint yet.
    """
    run = RunDirectory(Path(directory))
    recipe = run.read_recipe(task.recipe)
    session = open_session(task, recipe, report)
    check_origin(run, session, report, read_only=True)
    position = load_checkpoint(run.checkpoint, session)
    end = min(position.step + steps, session.total_steps)
    at_checkpoint = fingerprint(session)
    report(f"continued path: from the checkpoint after step {position.step:,} to step {end:,}")
    _advance(session, position.step, end)
    continued = (at_checkpoint, fingerprint(session))

    session = open_session(task, recipe, lambda message: None)
    before = Position()
    if previous(run.checkpoint).is_file():
        older = load_checkpoint(previous(run.checkpoint), session)
        if older.step < position.step:
            before = older
        else:
            session = open_session(task, recipe, lambda message: None)
    report(f"uninterrupted path: from step {before.step:,} to step {end:,}")
    _advance(session, before.step, position.step)
    at_checkpoint = fingerprint(session)
    _advance(session, position.step, end)
    return Proof(before.step, position.step, end, continued, (at_checkpoint, fingerprint(session)))


def _advance(session: OpenSession, step: int, end: int) -> None:
    order = session.training.order
    session.network.train()
    while step < end:
        epoch, first = order.place(step)
        for batch in session.training.epoch(epoch, first):
            step += 1
            make_step(session, batch, step)
            if step == end:
                break
