"""He 2016: the five activation orders (Table 2), and how deep the original and the pre-activation unit go (Table 3)."""

from __future__ import annotations

from ..experiment import Answer, Arm, Comparison, Rung, Study
from .settings import CROPS, HE2016_CIFAR, NARROW, NO_AUGMENTATION, SHORT_RUN, SMALL, WARMED_UP

_ORDERS = {
    "original": ("original", "original Residual Unit"),
    "BN after addition": ("bn-after-addition", "BN after addition"),
    "ReLU before addition": ("relu-before-addition", "ReLU before addition"),
    "ReLU-only pre-activation": ("relu-only-preactivation", "ReLU-only pre-activation"),
    "full pre-activation": ("full-preactivation", "full pre-activation"),
}


def _orders(depth: int, *fields: str) -> dict[str, str]:
    networks = {}
    for name, (order, _) in _ORDERS.items():
        base = f"cifar-preact-resnet{depth}" if order == "full-preactivation" else f"cifar-resnet{depth}"
        changes = [*fields, *([] if order in ("original", "full-preactivation") else [f"activation_order={order}"])]
        networks[name] = base + (f":{','.join(changes)}" if changes else "")
    return networks


ACTIVATION_ORDER = Study(
    name="activation-order",
    title="Activation order",
    question="Where do batch norm and ReLU belong?",
    claim="Moving BN after the addition or ReLU before it raises the error; full pre-activation lowers it.",
    answers_to="He 2016 Table 2",
    paper=HE2016_CIFAR,
    recipe=WARMED_UP,
    arms=tuple(
        Arm(name=name, paper_network=network, answers=Answer(table="he2016/table_2", model=f"ResNet-110, {_ORDERS[name][1]}"))
        for name, network in _orders(110).items()
    ),
    rungs=(
        *(
            Rung(name=f"{depth} layers", networks=_orders(depth, NARROW), minimum_steps=steps, recipe=SHORT_RUN)
            for depth, steps in ((20, 300), (32, 800), (56, 1_200))
        ),
        Rung(name="paper", networks=_orders(110), minimum_steps=16_000, recipe=CROPS),
    ),
    comparisons=(
        Comparison(
            statement="{arm} has a higher test error than the {other} order",
            metric="test_error",
            arm="BN after addition",
            other="original",
        ),
        Comparison(
            statement="{arm} has a higher test error than the {other} order",
            metric="test_error",
            arm="ReLU before addition",
            other="original",
        ),
        Comparison(
            statement="the {arm} order has a higher test error than {other}",
            metric="test_error",
            arm="original",
            other="full pre-activation",
        ),
        Comparison(
            statement="{arm} is within 0.5 points of the {other} order's test error",
            metric="test_error",
            arm="ReLU-only pre-activation",
            other="original",
            relation="equal",
            tolerance=0.005,
            key=False,
        ),
        Comparison(
            statement="the {arm} order has a higher training error than {other}",
            metric="train_error",
            arm="original",
            other="full pre-activation",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error"),
    figures=("dots", "curves"),
)

_DEEP = {"original": "cifar-resnet", "pre-activation": "cifar-preact-resnet"}


def _deep(depths: tuple[int, ...], *fields: str, also: tuple[int, ...] = ()) -> dict[str, str]:
    networks = {f"{unit}-{depth}": ":".join((f"{base}{depth}", *fields)) for depth in depths for unit, base in _DEEP.items()}
    return {**networks, **{f"original-{depth}": ":".join((f"cifar-resnet{depth}", *fields)) for depth in also}}


VERY_DEEP = Study(
    name="very-deep",
    title="Very deep networks",
    question="How deep can a network be made, with the original and with the pre-activation unit?",
    claim="The deepest pre-activation network is better than the deepest original one, and better than shallower ones of its kind.",
    answers_to="He 2015 Table 6, He 2016 Table 3",
    paper=HE2016_CIFAR,
    recipe=WARMED_UP,
    arms=(
        *(
            Arm(
                name=f"{unit}-{depth}",
                paper_network=None if depth == 56 else f"{base}{depth}",
                series=unit,
                order=depth,
                answers=None
                if depth == 56
                else Answer(table="he2016/table_3", model=f"ResNet-{depth} {unit}", where={"dataset": "CIFAR-10 test"}),
            )
            for unit, base in _DEEP.items()
            for depth in (56, 110, 164, 1001)
        ),
        Arm(
            name="original-1202",
            paper_network="cifar-resnet1202",
            series="basic units",
            order=1202,
            answers=Answer(table="he2015/table_6", model="ResNet-1202"),
        ),
    ),
    rungs=(
        Rung(name="110 layers", networks=_deep((56, 110), SMALL), minimum_steps=500, recipe=NO_AUGMENTATION),
        Rung(name="164 layers", networks=_deep((56, 110, 164), SMALL), minimum_steps=1_000, recipe=NO_AUGMENTATION),
        Rung(name="1001 layers", networks=_deep((110, 164, 1001), SMALL), minimum_steps=1_500, recipe=NO_AUGMENTATION),
        Rung(name="paper", networks=_deep((110, 164, 1001), also=(1202,)), minimum_steps=16_000, recipe=CROPS),
    ),
    comparisons=(
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="original:last",
            other="pre-activation:last",
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="pre-activation:first",
            other="pre-activation:last",
        ),
        Comparison(
            statement="{arm} has a higher training error than {other}",
            metric="train_error",
            arm="original:last",
            other="pre-activation:last",
            key=False,
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="original-1202",
            other="original-110",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error"),
    figures=("curves", "series"),
)
