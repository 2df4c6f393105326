"""What `resnets train --resume RUN` can do besides going on: prove that it would be exact, and replay the step that stopped the run."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UserError
from ..reports.tables import print_table, table
from ..training.base_recipe import RunRecipe
from .options import messages, print_json, results

PROVE, REPLAY = "--prove", "--replay"
DEFAULT_STEPS = 10
"""Steps that a proof compares."""


def asked(arguments: list[str]) -> bool:
    """Whether the arguments behind --resume RUN ask for one of the two."""
    return bool(arguments) and arguments[0].partition("=")[0] in (PROVE, REPLAY)


def run(directory: Path, arguments: list[str], kind: type[RunRecipe], *, as_json: bool) -> int:
    """Carries it out: exit status 0 where the proof holds or the replayed step is finite, 1 where not."""
    option, _, value = arguments[0].partition("=")
    values = [value] if value else arguments[1:]
    if option == REPLAY:
        if values:
            raise UserError(f"--replay takes nothing behind it, but got {' '.join(values)}")
        return _replay(directory, kind, as_json)
    if len(values) > 1 or not all(value.isdecimal() and int(value) > 0 for value in values):
        raise UserError(f"--prove takes a number of steps behind it, such as --prove {DEFAULT_STEPS}, not {' '.join(values)}")
    return _prove(directory, int(values[0]) if values else DEFAULT_STEPS, kind, as_json)


def _prove(directory: Path, steps: int, kind: type[RunRecipe], as_json: bool) -> int:
    from ..training.prove import prove

    proof = prove(directory, steps, messages().print, kind=kind)
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
        columns = ("behind", "continued (SHA-256)", f"uninterrupted, from step {proof.begun:,}", "")
        print_table(results(), table("Weights, statistics, optimizer, average", columns, rows))
        verdict = (
            "both paths end with the same bits: resuming is exact"
            if proof.holds
            else "the paths differ: this run does not resume exactly here"
        )
        results().print(verdict)
    return 0 if proof.holds else 1


def _replay(directory: Path, kind: type[RunRecipe], as_json: bool) -> int:
    from ..training.black_box import STATE, replay
    from ..training.origin import check_origin
    from ..training.run_directory import RunDirectory
    from ..training.session import open_session

    run = RunDirectory(directory)
    recipe = run.read_recipe(kind)
    if not (directory / STATE).is_file():
        raise UserError(f"{directory} has no black box: its loss and gradients were finite as far as it came")
    session = open_session(recipe, messages().print)
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
        print_table(results(), table(f"Step {found.step:,}, {len(found.indices)} pictures, loss {found.loss:.4g}", columns, rows))
        results().print(found.summary)
    return 0 if found.first_non_finite is None else 1
