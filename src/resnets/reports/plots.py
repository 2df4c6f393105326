"""Plots, drawn with matplotlib without a screen; colours are told apart by colour-blind readers too (Okabe and Ito 2008)."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from ..core.files import write_atomically

if TYPE_CHECKING:
    from .calibration import Calibration

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"


def figure(width: float, height: float) -> Any:
    """An empty figure of so many inches that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(drawn: Any, description: str) -> str:
    """The figure as an SVG element for a page; the same figure gives the same text.

    Its ground is transparent and its black is the page's text colour (`currentColor`); blue, orange and green are the page's, where
    it sets `--blue`, `--orange` or `--green`. `description` is what a reader hears who does not see it, and must differ between the
    figures of a page: the names inside are made of it.
    """
    import matplotlib

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": description, "svg.fonttype": "none"}):
        drawn.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])  # every figure calls its groups the same
    for colour, name in (("#000000", "currentColor"), (BLUE, f"var(--blue, {BLUE})"), (ORANGE, f"var(--orange, {ORANGE})"),
                         (GREEN, f"var(--green, {GREEN})")):  # fmt: skip
        text = text.replace(colour, name)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)


def image_format(path: Path) -> str:
    """png, svg or pdf, as the path's ending says; for asking before a long computation whose plot goes there.

    Raises:
        ValueError: an ending that is no image format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise UserError(f"a plot cannot be written as {path.name!r}; end its name in .png, .svg or .pdf")
    return kind


def save(drawn: Any, path: Path) -> None:
    """Writes the figure as the path's ending says (png, svg, pdf), whole or not at all.

    Raises:
        ValueError: an ending that is no image format.
    """
    kind, buffer = image_format(path), io.BytesIO()
    drawn.savefig(buffer, format=kind, dpi=150)
    write_atomically(path, buffer.getvalue())


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Any:
    """The matrix as shares of each true class (rows), with the counts written in where they fit."""
    count = len(classes)
    drawn = figure(max(4.5, 0.62 * min(count, 40) + 2), max(4, 0.55 * min(count, 40) + 1.5))
    axes = drawn.add_subplot()
    shares = [[n / max(1, sum(row)) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted as")
    axes.set_ylabel("is")
    if count <= 40:
        axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(count), classes, parse_math=False)
    if count <= 20:
        for i, row in enumerate(confusion):
            for j, n in enumerate(row):
                if n:
                    axes.text(j, i, str(n), ha="center", va="center", fontsize=8, color="white" if shares[i][j] > 0.5 else "black")
    return drawn


def training_curves(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of a classifier's loss, accuracy and learning rate over the epochs, by title; see `curves`."""
    measures = (("Loss (nats)", "loss", "loss"), ("Accuracy", "accuracy", "top1"), ("Learning rate", "learning_rate", ""))
    return curves(events, measures)


def curves(events: Sequence[Mapping[str, Any]], measures: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    """Figures over the epochs, by title: training as a line, evaluations as dots, the last with its value.

    `measures` are (title, key in "step" events, key in "evaluation" events); one that no event has gets no figure.
    """
    steps = [event for event in events if event["event"] == "step"]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    figures = {}
    for title, key, measured in measures:
        trained = [(event["epoch"], event[key]) for event in steps if key in event]
        found = [(event["epoch"], event[measured]) for event in evaluations if event.get(measured) is not None]
        if trained or found:
            figures[title] = _curve(title, trained, found)
    return figures


def _curve(title: str, trained: list[tuple[float, float]], found: list[tuple[float, float]]) -> Any:
    drawn = figure(4.4, 3.2)
    axes = drawn.add_subplot()
    if trained:
        marker = "." if len(trained) < 3 else ""  # a line of one point would not be seen
        label = "training, as augmented" if found else None
        axes.plot(*zip(*trained, strict=True), color=BLUE, linewidth=1.4, marker=marker, label=label)
    if found:
        axes.plot(*zip(*found, strict=True), "o", color=ORANGE, markersize=5 if len(found) < 40 else 2.5, label="evaluation")
        epoch, value = found[-1]
        axes.annotate(
            f"{value:.4f}", (epoch, value), textcoords="offset points", xytext=(-2, 8), ha="right", fontsize=10, color=ORANGE
        )
        axes.margins(y=0.12)
        axes.legend(frameon=False, fontsize=9)
    axes.set_title(title, loc="left", fontsize=12)
    axes.set_xlim(left=0)
    axes.set_xlabel("epoch")
    _plain(axes)
    return drawn


def reliability_diagram(found: Calibration) -> Any:
    """Accuracy over confidence, bin by bin, on the line that they would be on, and the images in each bin (Guo et al. 2017, Fig. 1).

    Counts are on a logarithmic axis, with their numbers.
    """
    drawn = figure(5.6, 5.4)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1.35))
    filled = [part for part in found.bins if part.num_images]
    centres, width = [(part.low + part.high) / 2 for part in filled], 0.94 / len(found.bins)
    right, said = [part.accuracy or 0.0 for part in filled], [part.confidence or 0.0 for part in filled]
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="as often right as sure")
    upper.bar(centres, right, width, color=BLUE, label="accuracy")
    ends = ([centre - width / 2 for centre in centres], [centre + width / 2 for centre in centres])
    upper.hlines(said, *ends, color=ORANGE, linewidth=2.5, label="mean confidence")
    upper.set_ylim(0, 1)
    upper.set_ylabel("accuracy")
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    counts = [part.num_images for part in filled]
    lower.bar(centres, counts, width, color=GREY, log=True, bottom=0.5)
    for centre, count in zip(centres, counts, strict=True):
        lower.text(centre, (count + 0.5) * 1.15, short_count(count), ha="center", va="bottom", fontsize=7.5)
    lower.set_ylim(0.5, 6 * max(counts))
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        _plain(axes)
    return drawn


def short_count(count: int) -> str:
    """A count in at most four signs: 9999, 12k, 1.3M."""
    if count < 10_000:
        return str(count)
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.2g}M" if count < 99.5e6 else f"{count / 1e6:.0f}M"


def _plain(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


SERIES = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours for networks side by side; an eighth begins anew with a dashed line."""


def signal_curves(networks: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> Any:
    """Signal propagation of networks by name: responses, branch ratio and gradient of each unit, on logarithmic axes.

    Each unit is a dict with `response_std`, `branch_ratio` and `gradient` (see `inspection.signal`); what is None or not positive
    leaves a gap. A measure that no network has (the branch ratio of plain networks) gets no panel.
    """
    panels = [
        (key, title)
        for key, title in (
            ("response_std", "Standard deviation of F's layer responses"),
            ("branch_ratio", "|F| / |h| where they are joined"),
            ("gradient", "Gradient of the mean loss at the unit's input, |dE/dx|"),
        )
        if any(_drawable(unit[key]) for _, units in networks for unit in units)
    ]
    drawn = figure(9.5, 0.6 + 2.5 * max(1, len(panels)))
    longest = max(len(units) for _, units in networks)
    for axes, (key, title) in zip(drawn.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0], panels, strict=True):
        ends = []
        for i, (name, units) in enumerate(networks):
            values = [unit[key] if _drawable(unit[key]) else float("nan") for unit in units]
            colour, style = SERIES[i % len(SERIES)], "-" if i < len(SERIES) else "--"
            axes.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=1.5, marker="." if len(values) < 3 else "")
            ends += [(value, name, colour) for value in values if not math.isnan(value)][-1:]
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if high < 4 * low:  # a flat curve is not to look like a mountain
            low, high = low / 2, high * 2
            axes.set_ylim(low, high)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        few = high < 30 * low  # then 2 and 5 between the powers of ten have numbers, too
        axes.yaxis.set_minor_formatter(lambda value, _, few=few: f"{value:g}" if few and f"{value:e}"[0] in "25" else "")
        axes.set_xlim(0, longest + 1)
        axes.set_title(title, loc="left", fontsize=10)
        _plain(axes)
        _label_ends(axes, ends)
    drawn.axes[-1].set_xlabel("residual unit, from the first to the last")
    return drawn


def _drawable(value: float | None) -> bool:
    return value is not None and 0 < value < float("inf")


def _label_ends(axes: Any, ends: list[tuple[float, str, str]]) -> None:
    """Names the curves at the right edge, each at the height of its last value or just above the name below it."""
    low, high = axes.get_ylim()
    span = math.log(high / low)
    previous = -1.0
    for value, name, colour in sorted(ends):
        height = max(math.log(value / low) / span, previous + 0.09)
        previous = height
        axes.text(1.01, height, name, transform=axes.transAxes, color=colour, fontsize=9, va="center")


def range_test(rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], suggestion: float) -> Any:
    """The losses of a learning-rate range test over the rate, with the suggested one marked."""
    drawn = figure(7, 3.6)
    axes = drawn.add_subplot()
    axes.plot(rates, losses, color=GREY, linewidth=0.8, alpha=0.7, label="each batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    axes.axvline(suggestion, color=ORANGE, linewidth=1.4, linestyle="--", label=f"suggestion {suggestion:.2g}")
    finite = [loss for loss in smoothed if math.isfinite(loss)]
    axes.set_ylim(0, 1.3 * max(finite[: max(1, len(finite) // 2)]))  # a diverging end would flatten all that comes before
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_title("Loss (nats) while the learning rate grows", loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return drawn
