"""resnets find: the learning rate and the batch size with which a recipe trains well on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...classification.recipe import Recipe
from ...classification.task import CLASSIFICATION
from ...reports import plots
from ...reports.tables import print_table, table
from ..command import Group
from ..options import Options, messages, print_json, results
from ..recipe_command import RecipeCommand, RecipeOptions

if TYPE_CHECKING:
    from ...classification.batch_finder import BatchSearch, Trial
    from ...classification.learning_rate_finder import RangeTest
    from ...classification.session import ClassificationSession

_RATE = """\
Find a learning rate: train {example} or your own data while the rate grows, and look where the loss falls. Nothing is kept but a curve.

  resnets {command} photos                      your own images: {data}
  resnets {command} {example}              one of {names}"""
_BATCH = """\
Find a batch size: the largest that fits in memory, and the fastest, for a recipe or your own data on this machine.

  resnets {command} photos                      your own images: {data}
  resnets {command} {example}              one of {names}"""


@dataclass
class RateOptions(RecipeOptions):
    """Options of `resnets find learning-rate`."""

    low: float = 1e-6
    """The first rate."""
    high: float = 10.0
    """The last one."""
    steps: int = 100
    """Steps between them."""
    plot: Path = Path("learning-rate.svg")
    """Where the curve is drawn (.svg, .png, .pdf)."""


@dataclass
class BatchOptions(RecipeOptions):
    """Options of `resnets find batch-size`."""

    share: float = 0.8
    """Of the free memory, on a CPU."""
    most: int = 8192
    """Images beyond which no batch is looked for."""


@dataclass(frozen=True)
class FindCommand(RecipeCommand[Options]):
    """Tries a value of a classifier's recipe."""

    try_it: Callable[[Recipe, Options], None] = lambda recipe, options: None

    def run(self, arguments: Sequence[str]) -> int:
        """Carries out the command."""
        words, task = self.scanned(arguments)
        recipe, options, _ = self.begin(words, task)
        assert isinstance(recipe, Recipe)
        self.try_it(recipe, options)
        return 0


def _session(recipe: Recipe) -> ClassificationSession:
    from ...core.environment import keep_large_buffers
    from ...training.session import open_session

    keep_large_buffers()
    console = messages()
    session: ClassificationSession = open_session(
        CLASSIFICATION, recipe, lambda message: console.print(message, soft_wrap=True, markup=False)
    )
    return session


def _learning_rate(recipe: Recipe, options: RateOptions) -> None:
    low, high, steps, plot, as_json = options.low, options.high, options.steps, options.plot, options.json
    plots.image_format(plot)
    from ...classification.learning_rate_finder import range_test

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


def _batch_size(recipe: Recipe, options: BatchOptions) -> None:
    share, most, as_json = options.share, options.most, options.json
    from ...classification.batch_finder import find_batch_size

    console = messages()

    def say(trial: Trial) -> None:
        console.print(
            f"{trial.batch_size:>6} images  {trial.images_per_second:,.0f} images/s  {_mebibytes(trial.peak_memory)}",
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
    output.print(f"largest         {found.largest:,} images, {_why(found, share)}", soft_wrap=True)
    output.print(
        f"fastest         {found.fastest.batch_size:,} images, {found.fastest.images_per_second:,.0f} images/s (within 2 % of the most)",
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


COMMAND = Group(
    "find",
    "Find a value of a recipe by trying, without changing anything.",
    {
        "learning-rate": (
            "the rate at which a classifier's loss falls fastest",
            FindCommand("find learning-rate", RateOptions, _RATE, CLASSIFICATION, _learning_rate),
        ),
        "batch-size": (
            "the largest batch that fits, and the fastest",
            FindCommand("find batch-size", BatchOptions, _BATCH, CLASSIFICATION, _batch_size),
        ),
    },
)
