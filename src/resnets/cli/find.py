"""resnets find: the learning rate and the batch size with which a recipe trains well on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..classification.recipe import Recipe
from ..core.errors import UserError
from ..reports import plots
from ..reports.tables import print_table, table
from .options import messages, print_json, results
from .run_command import take
from .train import TRAIN

if TYPE_CHECKING:
    from ..classification.batch_finder import BatchSearch, Trial
    from ..classification.learning_rate_finder import RangeTest
    from ..classification.session import ClassificationSession

_HELP = """\
Find a value of a recipe by trying, without changing anything but the one or two files that are named.

  resnets find learning-rate RECIPE [OPTIONS]    train while the learning rate grows, and look where the loss falls
    --low RATE --high RATE --steps N             from 1e-6 to 10 in 100 steps
    --plot FILE                                  where the curve is drawn; learning-rate.svg
  resnets find batch-size RECIPE [OPTIONS]       the largest batch that fits in memory, and the fastest
    --share SHARE                                of the free memory, on a CPU; 0.8
    --most N                                     pictures beyond which no batch is looked for; 8192
  --json                                         one object on standard output

RECIPE and OPTIONS are those of resnets train (resnets train --help).
"""


def run(arguments: list[str]) -> int:
    """Carries out the command."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    kinds = {"learning-rate": _learning_rate, "batch-size": _batch_size}
    if arguments[0] not in kinds:
        raise UserError(f"resnets find looks for {' or '.join(kinds)}, not {arguments[0]!r}")
    if "-h" in arguments or "--help" in arguments:
        print(_HELP, end="")
        return 0
    as_json = "--json" in arguments
    kinds[arguments[0]]([argument for argument in arguments[1:] if argument != "--json"], as_json)
    return 0


def _number(option: str, arguments: list[str], default: float, *, whole: bool = False) -> tuple[Any, list[str]]:
    text, rest = take(option, arguments)
    if text is None:
        return default, rest
    try:
        return (int(text) if whole else float(text)), rest
    except ValueError:
        raise UserError(f"{option} takes a {'whole ' if whole else ''}number, not {text!r}") from None


def _session(recipe: Recipe) -> ClassificationSession:
    from ..core.environment import keep_large_buffers
    from ..training.session import open_session

    keep_large_buffers()
    console = messages()
    session: ClassificationSession = open_session(recipe, lambda message: console.print(message, soft_wrap=True, markup=False))
    return session


def _learning_rate(arguments: list[str], as_json: bool) -> None:
    low, arguments = _number("--low", arguments, 1e-6)
    high, arguments = _number("--high", arguments, 10.0)
    steps, arguments = _number("--steps", arguments, 100, whole=True)
    file, arguments = take("--plot", arguments)
    plot = Path(file or "learning-rate.svg")
    plots.picture_format(plot)
    recipe = TRAIN.parse(arguments, "find learning-rate", _HELP)
    from ..classification.learning_rate_finder import range_test

    console = messages()

    def say(step: int, rate: float, loss: float) -> None:
        if step % 10 == 0:
            console.print(f"step {step}/{steps}  learning rate {rate:.2e}  loss {loss:.3f}", soft_wrap=True)

    found = range_test(_session(recipe), low, high, steps, say)
    plots.save(plots.range_test(found.rates, found.losses, found.smoothed, found.suggestion), plot)
    if as_json:
        print_json(
            {
                "suggestion": found.suggestion,
                "steepest": found.steepest,
                "divergence": found.divergence,
                "rule": _rule(found),
                "option": f"--optimizer.learning-rate {found.suggestion:.2g}",
                "rates": list(found.rates),
                "losses": [loss if abs(loss) < float("inf") else None for loss in found.losses],
                "smoothed": [loss if abs(loss) < float("inf") else None for loss in found.smoothed],
                "plot": str(plot),
            }
        )
        return
    output = results()
    shown = range(0, len(found.rates), max(1, len(found.rates) // 15))
    rows = [(f"{found.rates[i]:.2e}", f"{found.losses[i]:.4f}", f"{found.smoothed[i]:.4f}") for i in shown]
    print_table(output, table(f"Range test, {len(found.rates)} steps", ("learning rate", "loss", "smoothed"), rows))
    output.print(f"suggestion      {found.suggestion:.2g}: {_rule(found)}", soft_wrap=True)
    output.print(f"use it          --optimizer.learning-rate {found.suggestion:.2g}", soft_wrap=True)
    output.print(f"curve           {plot}", soft_wrap=True)


def _rule(found: RangeTest) -> str:
    where = f"the smoothed loss falls fastest at {found.steepest:.2g}"
    if found.divergence is None:
        return f"{where}, and did not diverge up to {found.rates[-1]:.2g}"
    return f"the lesser of where {where} and a tenth of {found.divergence:.2g}, where it diverges"


def _batch_size(arguments: list[str], as_json: bool) -> None:
    share, arguments = _number("--share", arguments, 0.8)
    most, arguments = _number("--most", arguments, 8192, whole=True)
    recipe = TRAIN.parse(arguments, "find batch-size", _HELP)
    from ..classification.batch_finder import find_batch_size

    console = messages()

    def say(trial: Trial) -> None:
        console.print(
            f"{trial.batch_size:>6} pictures  {trial.images_per_second:,.0f} images/s  {_mebibytes(trial.peak_memory)}",
            soft_wrap=True,
        )

    session = _session(recipe)
    found = find_batch_size(session, share=share, most=most, listen=say)
    if as_json:
        print_json(
            {
                "largest": found.largest,
                "tried": found.tried,
                "bounded_by_memory": found.bounded,
                "fastest": found.fastest.batch_size,
                "images_per_second": found.fastest.images_per_second,
                "memory_bytes": found.memory,
                "device": str(session.device),
                "trials": [vars(trial) for trial in found.trials],
            }
        )
        return
    output = results()
    rows = [
        (f"{t.batch_size:,}", f"{t.images_per_second:,.0f}", _mebibytes(t.peak_memory))
        for t in sorted(found.trials, key=lambda t: t.batch_size)
    ]
    print_table(output, table(f"Training steps on {session.device}", ("batch", "images/s", "peak memory"), rows))
    output.print(f"largest         {found.largest:,} pictures, {_why(found, share)}", soft_wrap=True)
    output.print(
        f"fastest         {found.fastest.batch_size:,} pictures, {found.fastest.images_per_second:,.0f} images/s (within 2 % of the most)",
        soft_wrap=True,
    )
    output.print("larger batches  fit in parts, with --accumulation", soft_wrap=True)


def _why(found: BatchSearch, share: float) -> str:
    if not found.bounded:
        return "the limit of this search (--most)" + ("" if found.tried else "; larger ones were too slow to try")
    if found.tried:
        return f"tried, of {_mebibytes(found.memory)}"
    return f"where the line through the trials reaches {_mebibytes(found.memory)} ({100 * share:g} % of the free memory and what was in use)"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
