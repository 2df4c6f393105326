"""How the signal passes forward and back: He 2015 Fig. 7 and He 2016 §2-4. Measured, not only derived."""

from __future__ import annotations

from ..experiment import Arm, Comparison, Rung, Study
from .settings import CROPS, HE2015_CIFAR, HE_RECIPE, NARROW, SHORT_RUN

_SCALES = (0.5, 0.9, 1.0, 1.1)
_DEPTHS = (20, 56, 110)
_FAMILIES = {"plain": "cifar-plain", "residual": "cifar-resnet"}
_AT_START = {f"{scale:g} x + F": f"cifar-preact-resnet110:shortcut_scale={scale}" for scale in _SCALES}


def _trained(depths: tuple[int, ...], *fields: str) -> dict[str, str]:
    networks = {
        f"{family}-{depth}": ":".join((f"{prefix}{depth}", *fields)) for family, prefix in _FAMILIES.items() for depth in depths
    }
    networks.pop("plain-110", None)  # the paper's Fig. 7 has none: it does not train
    return networks


SIGNAL = Study(
    name="signal",
    title="Signal propagation",
    question="What do shortcuts do to responses and gradients?",
    claim="Along identity shortcuts the gradient passes as the product of their scales; residual networks respond less than plain ones, "
    "and each unit less the deeper the network.",
    answers_to="He 2015 Fig. 7; He 2016 §2-4",
    paper=HE2015_CIFAR,
    recipe=HE_RECIPE,
    arms=(
        *(
            Arm(name=name, paper_network=network, measurement="initial-signal", series="scale", order=scale)
            for (name, network), scale in zip(_AT_START.items(), _SCALES, strict=True)
        ),
        Arm(name="plain-56 at start", paper_network="cifar-plain56", measurement="initial-signal"),
        *(
            Arm(
                name=f"{family}-{depth}",
                paper_network=f"{prefix}{depth}",
                measurement="trained-signal",
                series=family,
                order=depth,
            )
            for family, prefix in _FAMILIES.items()
            for depth in _DEPTHS
            if (family, depth) != ("plain", 110)
        ),
    ),
    rungs=(
        Rung(
            name="56 layers",
            networks={**_AT_START, "plain-56 at start": "cifar-plain56", **_trained((20, 56), NARROW)},
            minimum_steps=400,
            recipe=SHORT_RUN,
        ),
        Rung(
            name="110 layers",
            networks={**_AT_START, "plain-56 at start": "cifar-plain56", **_trained((20, 56, 110), NARROW)},
            minimum_steps=1_500,
            recipe=SHORT_RUN,
        ),
        Rung(
            name="paper",
            networks={**_AT_START, "plain-56 at start": "cifar-plain56", **_trained((20, 56, 110))},
            minimum_steps=16_000,
            recipe=CROPS,
        ),
    ),
    comparisons=(
        *(
            Comparison(
                statement="with {arm} the gradient through the shortcuts is the product of the scales",
                metric="product_deviation",
                arm=f"{scale:g} x + F",
                relation="below",
                bound=1e-3,
            )
            for scale in _SCALES
        ),
        *(
            Comparison(
                statement="{arm} has larger responses than {other}",
                metric="response_std",
                arm=f"plain-{depth}",
                other=f"residual-{depth}",
            )
            for depth in (20, 56)
        ),
        Comparison(
            statement="{arm} has larger responses than {other}", metric="response_std", arm="residual:first", other="residual:last"
        ),
        Comparison(
            statement="|F| / |x| is larger in {arm} than in {other}",
            metric="branch_ratio",
            arm="residual:first",
            other="residual:last",
        ),
        Comparison(
            statement="{arm} (untrained, with batch norm) has no vanishing gradient: the first unit's is at least a tenth of the last's",
            metric="gradient_ratio",
            arm="plain-56 at start",
            bound=-1.0,
            key=False,
        ),
    ),
    metrics=("response_std", "branch_ratio", "gradient_ratio", "product", "product_deviation", "train_error"),
    figures=("signal", "products"),
)
