"""Plots, drawn with matplotlib without a screen; colours are told apart by colour-blind readers too (Okabe and Ito 2008)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"


def figure(width: float, height: float) -> Any:
    """An empty figure of so many inches that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(drawn: Any) -> str:
    """The figure as an SVG element that can stand in a page; the same figure gives the same text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "resnets", "svg.fonttype": "none"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def picture_format(path: Path) -> str:
    """png, svg or pdf, as the path's ending says; for asking before a long computation whose plot goes there.

    Raises:
        ValueError: an ending that is no picture format.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"a plot cannot be written as {path.name!r}; end its name in .png, .svg or .pdf")
    return kind


def save(drawn: Any, path: Path) -> None:
    """Writes the figure as the path's ending says (png, svg, pdf), whole or not at all.

    Raises:
        ValueError: an ending that is no picture format.
    """
    kind, buffer = picture_format(path), io.BytesIO()
    drawn.savefig(buffer, format=kind, dpi=150)
    write_atomically(path, buffer.getvalue())


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Any:
    """The matrix as shares of each true class (rows), with the counts written in where they fit."""
    count = len(classes)
    drawn = figure(max(4.5, 0.62 * count + 2), max(4, 0.55 * count + 1.5))
    axes = drawn.add_subplot()
    shares = [[n / max(1, sum(row)) for n in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if count <= 40:
        axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), classes)
    if count <= 20:
        for i, row in enumerate(confusion):
            for j, n in enumerate(row):
                if n:
                    axes.text(j, i, str(n), ha="center", va="center", fontsize=8, color="white" if shares[i][j] > 0.5 else "black")
    return drawn


def training_curves(events: Sequence[dict[str, Any]]) -> Any:
    """Loss and accuracy over the epochs: training as a line, evaluations as dots with their values."""
    steps = [event for event in events if event["event"] == "step"]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    drawn = figure(9, 3.4)
    for axes, key, measured, title in zip(
        drawn.subplots(1, 2), ("loss", "accuracy"), ("loss", "top1"), ("Loss (nats)", "Accuracy"), strict=True
    ):
        axes.plot([e["epoch"] for e in steps], [e[key] for e in steps], color=BLUE, linewidth=1.4, label="training, augmented")
        axes.plot(
            [e["epoch"] for e in evaluations],
            [e[measured] for e in evaluations],
            "o",
            color=ORANGE,
            markersize=5,
            label="evaluation",
        )
        if evaluations:
            last = evaluations[-1]
            axes.annotate(
                f"{last[measured]:.4f}",
                (last["epoch"], last[measured]),
                textcoords="offset points",
                xytext=(-6, 8),
                ha="right",
                fontsize=9,
                color=ORANGE,
            )
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.axes[0].legend(frameon=False, fontsize=9)
    return drawn


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
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
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
