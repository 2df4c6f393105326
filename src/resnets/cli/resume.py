"""What `resnets train --resume RUN` can do besides going on: prove that it would be exact, and replay the step that stopped the run."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UserError
from ..reports.tables import print_table, table
from ..tasks import AnyTask
from .options import messages, print_json, results

DEFAULT_STEPS = 10
"""Steps that a proof compares."""


def run(task: AnyTask, directory: Path, steps: int | None, *, as_json: bool) -> int:
    """Proves so many steps of the task's run, or replays the one that stopped it: exit status 0 where the proof holds or the replayed
    step is finite, 1 where not."""
    return _replay(task, directory, as_json) if steps is None else _prove(task, directory, steps, as_json)


def _prove(task: AnyTask, directory: Path, steps: int, as_json: bool) -> int:
    from ..training.prove import prove

    proof = prove(task, directory, steps, messages().print)
    places = [f"step {proof.checkpoint:,} (the checkpoint)", f"step {proof.end:,}"]
    if as_json:
        paths = {"continued": proof.continued, "uninterrupted": proof.uninterrupted}
        print_json(
            {
                "event": "proof",
                "holds": proof.holds,
                "begun": proof.begun,
                "checkpoint": proof.checkpoint,
                "end": proof.end,
                **paths,
            }
        )
    else:
        rows = [
            (place, a[:16], b[:16], "same" if a == b else "DIFFERENT")
            for place, a, b in zip(places, proof.continued, proof.uninterrupted, strict=True)
        ]
        columns = ("after", "continued (SHA-256)", f"uninterrupted, from step {proof.begun:,}", "")
        print_table(results(), table("Weights, statistics, optimizer, average", columns, rows))
        verdict = (
            "both paths end with the same bits: resuming is exact"
            if proof.holds
            else "the paths differ: this run does not resume exactly here"
        )
        results().print(verdict)
    return 0 if proof.holds else 1


def _replay(task: AnyTask, directory: Path, as_json: bool) -> int:
    from ..training.black_box import STATE, replay
    from ..training.origin import check_origin
    from ..training.run_directory import RunDirectory
    from ..training.session import open_session

    run = RunDirectory(directory)
    recipe = run.read_recipe(task.recipe)
    if not (directory / STATE).is_file():
        raise UserError(f"{directory} has no black box: its loss and gradients were finite as far as it came")
    session = open_session(task, recipe, messages().print)
    check_origin(run, session, messages().print, read_only=True)
    found = replay(directory, session)
    if as_json:
        print_json({"event": "replay", "step": found.step, "first_non_finite": found.first_non_finite, "layers": found.layers})
    else:
        rows = [
            (
                entry["layer"],
                f"{entry['largest']:.3g}" if "largest" in entry else "",
                f"{entry['non_finite']:,}" if entry.get("non_finite") else "",
                f"{entry['gradient_norm']:.3g}" if "gradient_norm" in entry else "",
            )
            for entry in found.layers
        ]
        columns = ("layer", "largest finite output", "not finite", "gradient norm")
        print_table(results(), table(f"Step {found.step:,}, {len(found.indices)} images, loss {found.loss:.4g}", columns, rows))
        results().print(found.summary)
    return 0 if found.first_non_finite is None else 1
