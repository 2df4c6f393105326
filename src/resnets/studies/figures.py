"""The plots of a study, from its record alone. Direct labels; training error dashed and test error solid, as in He 2015.

Colours are Okabe and Ito's. In the SVG each of them is a CSS variable with that colour as fallback, so that the page can show the same
plot on a light and on a dark ground.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..reports import plots
from ..reports.plots import SERIES
from .metrics import METRICS

Record = dict[str, Any]

INK = "#000000"
REFERENCE = "#8a8a8a"
_VARIABLES = {"purple": SERIES[3], "yellow": SERIES[4], "sky": SERIES[5], "reference": REFERENCE, "grid": "#b0b0b0"}
MOST_IN_A_PANEL = 6
"""More curves than these get a small panel each."""


def draw(record: Record) -> list[tuple[str, str, str]]:
    """Every figure of the study that has something to show: (name, caption, SVG)."""
    found = []
    for name in record["figures"]:
        drawing = _FIGURES[name](record)
        if drawing is not None:
            drawn, caption = drawing
            found.append((name, caption, themed(plots.svg(drawn, f"{record['title']}, {name}: {caption}"))))
    return found


def themed(svg: str) -> str:
    """The SVG with the colours that `plots.svg` leaves as CSS variables, too."""
    for name, colour in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    return svg


def _plain(axes: Any, title: str = "", x: str = "", y: str = "") -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.35, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(names: list[str]) -> dict[str, str]:
    return {name: SERIES[i % (len(SERIES) - 1)] for i, name in enumerate(names)}


# Curves ---------------------------------------------------------------------------------------------------------------------------


def _curves(record: Record) -> tuple[Any, str] | None:
    """Error over the steps: one panel a series, or one an arm where there are many."""
    arms = [row for row in record["rows"] if row["arm"] in record["curves"]]
    if not arms:
        return None
    groups: dict[str, list[str]] = {}
    for row in arms:
        groups.setdefault(row["series"], []).append(row["arm"])
    if any(len(group) > MOST_IN_A_PANEL for group in groups.values()):
        return _small_multiples(record, [row["arm"] for row in arms])
    drawn = plots.figure(max(5.2, 4.9 * len(groups)), 4.2)
    top = _top(record, [row["arm"] for row in arms])
    panels = drawn.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, (series, group) in zip(panels, groups.items(), strict=True):
        _plain(axes, series, "optimizer step", "error (%)" if axes is panels[0] else "")
        ends = []
        for name, colour in _colours(group).items():
            height = _draw_curve(axes, record["curves"][name], colour)
            ends.append((height, name, colour))
        axes.set_ylim(0, top)
        axes.set_xlim(left=0)
        _label_right(axes, [(min(height, top), name, colour) for height, name, colour in ends])
    return drawn, (
        "Training error (dashed, of the batches as they came) and test error (solid), means over the seeds; the band reaches from the "
        "lowest to the highest seed."
    )


def _draw_curve(axes: Any, curves: dict[str, list[list[float]]], colour: str, width: float = 1.6) -> float:
    """Draws both errors of an arm; returns where its name belongs, in percent."""
    height = 0.0
    for kind, style in (("train", "--"), ("test", "-")):
        points = curves.get(kind, [])
        if points:
            steps, mean, low, high = ([p[i] * (1 if i == 0 else 100) for p in points] for i in range(4))
            axes.plot(
                steps,
                mean,
                style,
                color=colour,
                linewidth=width,
                marker="o" if kind == "test" and len(steps) < 12 else "",
                markersize=3.5,
            )
            axes.fill_between(steps, low, high, color=colour, alpha=0.14, linewidth=0)
            height = mean[-1]
    return height


def _top(record: Record, names: list[str]) -> float:
    """Upper end of the error axis: what the curves reach after the first tenth of the run."""
    highest = 5.0
    for name in names:
        for points in record["curves"][name].values():
            last = points[-1][0]
            highest = max([highest, *(100 * p[3] for p in points if p[0] >= last / 10)])
    return min(100.0, 1.06 * highest)


def _small_multiples(record: Record, names: list[str]) -> tuple[Any, str]:
    """One panel an arm, the first arm in each as the reference."""
    columns = 4
    rows = math.ceil((len(names) - 1) / columns)
    drawn = plots.figure(10, 2.3 * rows + 0.3)
    panels = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    top = _top(record, names)
    reference = names[0]
    for i, axes in enumerate(panels.flat):
        if i + 1 >= len(names):
            axes.set_visible(False)
            continue
        _plain(axes, names[i + 1], "step" if i + 1 + columns >= len(names) else "", "error (%)" if i % columns == 0 else "")
        axes.title.set_fontsize(9)
        _draw_curve(axes, record["curves"][reference], REFERENCE, 1.0)
        _draw_curve(axes, record["curves"][names[i + 1]], SERIES[0])
        axes.set_ylim(0, top)
        axes.set_xlim(left=0)
    return drawn, (
        f"Each arm (blue) beside {reference} (grey): training error of the batches dashed, test error solid, means over the seeds; the band "
        "reaches from the lowest to the highest seed."
    )


def _label_right(axes: Any, ends: list[tuple[float, str, str]], logarithmic: bool = False) -> None:
    """Names at the right edge, each at its curve's height or just above the name below it."""
    low, high = axes.get_ylim()
    previous = -1.0
    for height, name, colour in sorted(ends):
        if logarithmic:
            share = math.log(max(height, low) / low) / math.log(high / low)
        else:
            share = (height - low) / (high - low)
        previous = max(share, previous + 0.065)
        axes.text(1.02, previous, name, transform=axes.transAxes, color=colour, fontsize=9, va="center")


# Error against depth --------------------------------------------------------------------------------------------------------------


def _series(record: Record) -> tuple[Any, str] | None:
    """Final errors of each series against what differs in it."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        if row["series"] and "train_error" in row["metrics"]:
            groups.setdefault(row["series"], []).append(row)
    if not any(len(rows) > 1 for rows in groups.values()):
        return None
    drawn = plots.figure(6.4, 4.2)
    axes = drawn.add_subplot()
    _plain(axes, "", "layers", "error at the end (%)")
    ends = []
    for (name, rows), colour in zip(groups.items(), _colours(list(groups)).values(), strict=True):
        rows = sorted(rows, key=lambda row: float(row["order"]))
        for metric, style, fill in (("train_error", "--", "none"), ("test_error", "-", colour)):
            x, mean = [row["order"] for row in rows], [100 * row["metrics"][metric]["mean"] for row in rows]
            spread = [100 * (row["metrics"][metric]["deviation"] or 0.0) for row in rows]
            axes.errorbar(
                x, mean, yerr=spread, fmt="o" + style, color=colour, markerfacecolor=fill, capsize=3, linewidth=1.6, markersize=5
            )
            ends.append((mean[-1], f"{name}, {METRICS[metric].label.removesuffix(' error')}", colour))
    axes.set_xticks(sorted({row["order"] for rows in groups.values() for row in rows}))
    axes.set_ylim(bottom=0)
    _label_right(axes, ends)
    return (
        drawn,
        "Error at the end against depth: training error dashed with hollow dots, test error solid; mean and standard deviation of the seeds.",
    )


# Arms side by side ----------------------------------------------------------------------------------------------------------------


def _dots(record: Record) -> tuple[Any, str] | None:
    """A line an arm: our errors with every seed, and the published number in a panel of its own, where other data have another scale."""
    rows = [row for row in record["rows"] if "test_error" in row["metrics"]]
    if not rows:
        return None
    answered = any(row["published"] for row in rows)
    drawn = plots.figure(9, 0.36 * len(rows) + 1.5)
    panels = drawn.subplots(1, 2 if answered else 1, sharey=True, squeeze=False, width_ratios=[3, 2] if answered else None)[0]
    heights = list(range(len(rows)))[::-1]
    for height, row in zip(heights, rows, strict=True):
        for metric, colour, filled, offset in (("train_error", SERIES[1], False, -0.14), ("test_error", SERIES[0], True, 0.14)):
            measured = row["metrics"][metric]
            seeds = [100 * value for value in measured["values"].values()]
            panels[0].plot(seeds, [height + offset] * len(seeds), "|", color=colour, markersize=6, markeredgewidth=1)
            panels[0].plot(
                [100 * measured["mean"]],
                [height + offset],
                "o",
                color=colour,
                markerfacecolor=colour if filled else "none",
                markersize=6,
            )
        if row["diverged"]:
            place = 100 * row["metrics"]["test_error"]["mean"]
            right = place < sum(100 * other["metrics"]["test_error"]["mean"] for other in rows) / len(rows)
            text = f"{len(row['diverged'])} of {row['metrics']['test_error']['num']} diverged"
            panels[0].annotate(
                text, (place, height), xytext=(12 if right else -12, 0), textcoords="offset points", ha="left" if right else "right",
                va="center", fontsize=8,
            )  # fmt: skip
    _plain(panels[0], "here", "error (%)")
    panels[0].set_yticks(heights, [row["arm"] for row in rows])
    panels[0].set_ylim(-0.7, len(rows) - 0.1)
    first = rows[0]["metrics"]
    for metric, colour, offset, label in (("test_error", SERIES[0], 10, "test"), ("train_error", SERIES[1], -12, "training")):
        panels[0].annotate(label, (100 * first[metric]["mean"], heights[0]), xytext=(0, offset), textcoords="offset points", color=colour,
                           ha="center", va="center", fontsize=8)  # fmt: skip
    if answered:
        numbers = [row["published_value"] for row in rows if row["published_value"] is not None]
        _plain(panels[1], "published", "test error (%)")
        for height, row in zip(heights, rows, strict=True):
            if row["published_value"] is not None:
                panels[1].plot([row["published_value"]], [height], "s", color=INK, markersize=5)
            elif row["published"]:
                panels[1].text(
                    0.98, height, row["published"], transform=panels[1].get_yaxis_transform(), ha="right", va="center", fontsize=9
                )
        span = max(numbers, default=1) - min(numbers, default=0) or 1
        panels[1].set_xlim(min(numbers, default=0) - 0.1 * span, max(numbers, default=1) + 0.35 * span)
    return drawn, (
        "Errors at the end: a tick for every seed, a dot for their mean; test error filled, training error hollow. The published numbers "
        "are of other data and longer training, so they have an axis of their own: what can be compared is the order."
    )


# Signal ---------------------------------------------------------------------------------------------------------------------------


def _signal(record: Record) -> tuple[Any, str] | None:
    """Responses, |F| / |x| and gradients of the trained arms, unit by unit."""
    trained = [row["arm"] for row in record["rows"] if row["arm"] in record["units"] and "train_error" in row["metrics"]]
    if not trained:
        return None
    colours = _colours(trained)
    drawn = plots.figure(9.5, 8.4)
    for axes, (key, title) in zip(
        drawn.subplots(3, 1),
        (
            ("response_std", "Standard deviation of F's layer responses (after batch norm)"),
            ("branch_ratio", "|F| / |h(x)| where they are added"),
            ("gradient", "Gradient at the unit's input, |dE/dx|"),
        ),
        strict=True,
    ):
        ends = []
        for name in trained:
            units = record["units"][name]
            values = [unit[key] if unit[key] else math.nan for unit in units]
            places = [(i + 0.5) / len(units) for i in range(len(units))]
            if all(math.isnan(value) for value in values):
                continue
            style = "--" if name.startswith("plain") else "-"
            axes.plot(places, values, style, color=colours[name], linewidth=1.5, marker=".", markersize=4)
            ends.append((values[-1], name, colours[name]))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
        axes.set_xlim(0, 1)
        _plain(axes, title, "depth: residual unit, as a share of the network" if key == "gradient" else "")
        _label_right(axes, ends, logarithmic=True)
    return (
        drawn,
        "The trained networks, unit by unit, on 128 training images: plain networks dashed, residual ones solid; means over the seeds.",
    )


def _products(record: Record) -> tuple[Any, str] | None:
    """Measured shortcut gradient against the product of the scales, in the first stage of the untrained networks."""
    drawn_arms = [row["arm"] for row in record["rows"] if row["series"] == "scale" and row["arm"] in record["units"]]
    if not drawn_arms:
        return None
    drawn = plots.figure(7, 4.2)
    axes = drawn.add_subplot()
    ends = []
    for name, colour in _colours(drawn_arms).items():
        units = [unit for unit in record["units"][name] if unit["name"].startswith("conv2_x") and unit["shortcut_product"]]
        places = range(1, len(units) + 1)
        axes.plot(places, [unit["shortcut_product"] for unit in units], "-", color=colour, linewidth=1.4)
        axes.plot(places, [unit["shortcut_gradient"] for unit in units], "o", color=colour, markerfacecolor="none", markersize=5)
        ends.append((units[0]["shortcut_product"], name, colour))
    axes.set_yscale("log")
    axes.set_xlim(0.2, None)
    _plain(axes, "", "unit of the first stage", "gradient through the shortcuts, from the stage's end")
    axes.xaxis.get_major_locator().set_params(integer=True)
    for height, name, colour in ends:
        axes.annotate(name, (1, height), xytext=(-4, 9), textcoords="offset points", color=colour, fontsize=9)
    return (
        drawn,
        "Untrained pre-activation networks of 110 layers: the product of the shortcuts' scales (lines) and the measured gradient (circles).",
    )


# Counts ---------------------------------------------------------------------------------------------------------------------------


def _counts(record: Record) -> tuple[Any, str] | None:
    """Multiply-adds of each network, with the published number beside."""
    rows = [row for row in record["rows"] if row["series"] == "networks"]
    if not rows:
        return None
    drawn = plots.figure(7.5, 0.42 * len(rows) + 1.1)
    axes = drawn.add_subplot()
    heights = list(range(len(rows)))[::-1]
    for height, row in zip(heights, rows, strict=True):
        value = row["metrics"]["macs"]["mean"] / 1e9
        axes.barh(height, value, height=0.55, color=SERIES[0])
        axes.text(value + 0.25, height, f"{value:.2f}, published {row['published'].removesuffix(' G')}", va="center", fontsize=9)
        if row["published_value"] is not None:
            axes.plot([row["published_value"] / 1e9] * 2, [height - 0.38, height + 0.38], color=SERIES[1], linewidth=2)
    _plain(axes, "", "multiply-adds for one image of 224 pixels (G)")
    axes.set_yticks(heights, [row["arm"] for row in rows])
    axes.set_xlim(right=1.3 * max(row["metrics"]["macs"]["mean"] / 1e9 for row in rows))
    return drawn, "Counted (bars) and published (orange marks) multiply-adds."


_FIGURES: dict[str, Callable[[Record], tuple[Any, str] | None]] = {
    "curves": _curves,
    "series": _series,
    "dots": _dots,
    "signal": _signal,
    "products": _products,
    "counts": _counts,
}
