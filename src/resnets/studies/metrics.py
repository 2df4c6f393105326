"""What each metric is called and how its values are written."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """How a number is shown."""

    label: str
    scale: float = 1.0
    """Values are shown multiplied by this: shares as percent."""
    unit: str = ""
    of_differences: str = ""
    """Unit of a difference of two."""
    digits: int | None = None
    """After the point; None for three significant ones."""

    def text(self, value: float | None) -> str:
        """A value without its unit, or a dash."""
        if value is None or not math.isfinite(value):
            return "-"
        number = value * self.scale
        if self.digits is None:
            return f"{number:.3g}"
        return f"{number:,.{self.digits}f}"

    def spread(self, value: float) -> str:
        """A standard deviation, with as many digits as the values have or two significant ones."""
        return f"{value * self.scale:.2g}" if self.digits is None else self.text(value)

    def with_unit(self, value: float | None) -> str:
        """A value with its unit."""
        return self.text(value) + (self.unit if value is not None else "")


METRICS: dict[str, Metric] = {
    "test_error": Metric("test error", 100, " %", " points", 2),
    "train_error": Metric("training error", 100, " %", " points", 2),
    "running_error": Metric("training error over the whole run", 100, " %", " points", 2),
    "test_loss": Metric("test loss", 1, " nats", " nats", 3),
    "train_loss": Metric("training loss", 1, " nats", " nats", 3),
    "training_seconds": Metric("training time", 1, " s", " s", 0),
    "parameters": Metric("parameters", 1e-6, " M", " M", 2),
    "macs": Metric("multiply-adds", 1e-9, " G", " G", 2),
    "weights": Metric("weights of the unit's convolutions", 1, "", "", 0),
    "response_std": Metric("response (standard deviation)"),
    "branch_ratio": Metric("|F| / |x|"),
    "gradient_ratio": Metric("log10 of the gradient, first unit / last", digits=2),
    "product": Metric("product of the scales"),
    "product_deviation": Metric("measured / product - 1"),
}
