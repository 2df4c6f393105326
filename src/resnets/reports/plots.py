"""Plots, drawn with matplotlib without a screen; colours are told apart by colour-blind readers too (Okabe and Ito 2008)."""

from __future__ import annotations

import io
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


def save(drawn: Any, path: Path) -> None:
    """Writes the figure as the path's ending says (png, svg, pdf), whole or not at all.

    Raises:
        ValueError: an ending that is no picture format.
    """
    buffer = io.BytesIO()
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise ValueError(f"a plot cannot be written as {path.name!r}; end its name in .png, .svg or .pdf")
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
