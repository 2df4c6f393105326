"""He 2015 Table 3: options A, B and C; He 2016 Table 1: what happens to the error when the shortcut is not the identity."""

from __future__ import annotations

from typing import Any

from ..experiment import Answer, Arm, Comparison, Rung, Study
from .settings import CROPS, HE2015_IMAGENET, HE2016_CIFAR, HE_RECIPE, NARROW, NO_AUGMENTATION, SHORT_RUN, SMALL, WARMED_UP

_OPTIONS = {"plain": "none", "option A": "A", "option B": "B", "option C": "C"}

SHORTCUT_OPTIONS = Study(
    name="shortcut-options",
    title="Shortcut options",
    question="Do projections help more than parameter-free shortcuts?",
    claim="Each shortcut option is better than none, B is slightly better than A, and C than B.",
    answers_to="He 2015 Table 3",
    paper=HE2015_IMAGENET,
    recipe=HE_RECIPE,
    arms=tuple(
        Arm(
            name=name,
            paper_network=f"resnet34:shortcut={option}",
            answers=Answer(table="he2015/table_3", model="plain-34" if option == "none" else f"ResNet-34 {option}"),
        )
        for name, option in _OPTIONS.items()
    ),
    rungs=(
        *(
            Rung(
                name=f"{depth} layers",
                networks={name: f"cifar-resnet{depth}:{SMALL},shortcut={option}" for name, option in _OPTIONS.items()},
                minimum_steps=steps,
                recipe=NO_AUGMENTATION,
            )
            for depth, steps in ((20, 300), (32, 1_200), (56, 4_000))
        ),
        Rung(
            name="paper",
            networks={name: f"resnet34:shortcut={option}" for name, option in _OPTIONS.items()},
            minimum_steps=60_000,
            recipe={"batch_size": 256},
        ),
    ),
    comparisons=(
        Comparison(statement="{arm} has a higher test error than {other}", metric="test_error", arm="plain", other="option A"),
        Comparison(statement="{arm} has a higher test error than {other}", metric="test_error", arm="option A", other="option B"),
        Comparison(statement="{arm} has a higher test error than {other}", metric="test_error", arm="option B", other="option C"),
        Comparison(
            statement="{arm} has a higher training error than {other}",
            metric="train_error",
            arm="option A",
            other="option C",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error"),
    figures=("dots", "curves"),
)


def _row(model: str, **where: str) -> Answer:
    return Answer(table="he2016/table_1", model=f"ResNet-110, {model}", where=where)


_ABLATIONS: dict[str, tuple[dict[str, Any], Answer]] = {
    "identity": ({}, _row("original")),
    "0 x + F": ({"shortcut_scale": 0.0}, _row("constant scaling", on_shortcut="0")),
    "0.5 x + F": ({"shortcut_scale": 0.5}, _row("constant scaling", on_shortcut="0.5", on_F="1")),
    "0.5 x + 0.5 F": ({"shortcut_scale": 0.5, "residual_scale": 0.5}, _row("constant scaling", on_shortcut="0.5", on_F="0.5")),
    "exclusive gate, bias 0": (
        {"join": "exclusive-gating", "gate_bias": 0.0},
        _row("exclusive gating", remark="init b_g = 0 to -5"),
    ),
    "exclusive gate, bias -6": ({"join": "exclusive-gating", "gate_bias": -6.0}, _row("exclusive gating", remark="init b_g = -6")),
    "exclusive gate, bias -7": ({"join": "exclusive-gating", "gate_bias": -7.0}, _row("exclusive gating", remark="init b_g = -7")),
    "shortcut gate, bias 0": (
        {"join": "shortcut-only-gating", "gate_bias": 0.0},
        _row("shortcut-only gating", remark="init b_g = 0"),
    ),
    "shortcut gate, bias -6": (
        {"join": "shortcut-only-gating", "gate_bias": -6.0},
        _row("shortcut-only gating", remark="init b_g = -6"),
    ),
    "1x1 convolution": ({"shortcut": "C"}, _row("1x1 conv shortcut")),
    "dropout 0.5": ({"join": "dropout", "shortcut_dropout": 0.5}, _row("dropout shortcut")),
}


def _ablated(depth: int, *fields: str) -> dict[str, str]:
    networks = {}
    for name, (changes, _) in _ABLATIONS.items():
        values = ",".join([*fields, *(f"{field}={value}" for field, value in changes.items())])
        networks[name] = f"cifar-resnet{depth}" + (f":{values}" if values else "")
    return networks


SHORTCUT_ABLATION = Study(
    name="shortcut-ablation",
    title="Shortcut ablation",
    question="Is any other shortcut as good as the identity?",
    claim="Every change of the identity shortcut (scaling, gates, 1x1 convolutions, dropout) raises the test error.",
    answers_to="He 2016 Table 1",
    paper=HE2016_CIFAR,
    recipe=WARMED_UP,
    arms=tuple(Arm(name=name, paper_network=network, answers=_ABLATIONS[name][1]) for name, network in _ablated(110).items()),
    rungs=(
        *(
            Rung(name=f"{depth} layers", networks=_ablated(depth, NARROW), minimum_steps=steps, recipe=SHORT_RUN)
            for depth, steps in ((20, 300), (32, 800), (56, 2_500))
        ),
        Rung(name="paper", networks=_ablated(110), minimum_steps=16_000, recipe=CROPS),
    ),
    comparisons=tuple(
        Comparison(statement="{arm} has a higher test error than the {other}", metric="test_error", arm=name, other="identity")
        for name in _ABLATIONS
        if name != "identity"
    ),
    metrics=("test_error", "train_error"),
    figures=("dots", "curves"),
)
