"""Wide Residual Networks: wide and shallow against thin and deep; ResNeXt: groups against width and depth."""

from __future__ import annotations

from ..experiment import Answer, Arm, Comparison, Rung, Study
from .settings import CROPS, HE_RECIPE, NO_AUGMENTATION, RESNEXT_IMAGENET, SMALL, WRN_CIFAR

_WRN_RECIPE = {
    **HE_RECIPE,
    "optimizer__nesterov": True,
    "optimizer__weight_decay": 5e-4,
    "schedule__milestones": (0.3, 0.6, 0.8),
    "schedule__gamma": 0.2,
}


def _pair(deep: str, wide: str) -> dict[str, str]:
    return {"thin and deep": deep, "wide and shallow": wide, "wide, equal time": wide}


WIDTH = Study(
    name="width",
    title="Width",
    question="Is a wide shallow network better than a thin deep one of as many parameters?",
    claim="With as many parameters a wide and shallow network has a lower test error than a thin and deep one, in less time.",
    answers_to="Zagoruyko 2016 Table 4 and Fig. 4, He 2016 Table 3",
    paper=WRN_CIFAR,
    recipe=_WRN_RECIPE,
    arms=(
        Arm(
            name="thin and deep",
            paper_network="cifar-preact-resnet1001",
            answers=Answer(table="he2016/table_3", model="ResNet-1001 pre-activation", where={"dataset": "CIFAR-10 test"}),
        ),
        Arm(
            name="wide and shallow",
            paper_network="wrn-16-8",
            answers=Answer(table="wrn/table_4", model="WRN-16-8", where={"dataset": "CIFAR-10 test"}),
        ),
        Arm(name="wide, equal time", paper_network=None, time_of="thin and deep"),
    ),
    rungs=(
        # 0.27 M parameters each, then 0.85 M, then 1.7 M; the paper's have 10.3 M and 11.0 M.
        Rung(
            name="0.3 M parameters",
            networks=_pair(f"cifar-preact-resnet20:{SMALL}", f"wrn-10-1.87:{SMALL}"),
            minimum_steps=400,
            recipe=NO_AUGMENTATION,
        ),
        Rung(
            name="0.9 M parameters",
            networks=_pair(f"cifar-preact-resnet56:{SMALL}", f"wrn-16-2.2:{SMALL}"),
            minimum_steps=800,
            recipe=NO_AUGMENTATION,
        ),
        Rung(
            name="1.7 M parameters",
            networks=_pair(f"cifar-preact-resnet110:{SMALL}", f"wrn-16-3.15:{SMALL}"),
            minimum_steps=2_500,
            recipe=NO_AUGMENTATION,
        ),
        Rung(name="paper", networks=_pair("cifar-preact-resnet1001", "wrn-16-8"), minimum_steps=16_000, recipe=CROPS),
    ),
    comparisons=(
        Comparison(
            statement="{arm} has a higher test error than {other}, after as many steps",
            metric="test_error",
            arm="thin and deep",
            other="wide and shallow",
        ),
        Comparison(
            statement="{arm} takes longer to train than {other}, for as many steps",
            metric="training_seconds",
            arm="thin and deep",
            other="wide and shallow",
            form="ratio",
            bound=1.0,
        ),
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="thin and deep",
            other="wide, equal time",
            key=False,
        ),
    ),
    metrics=("test_error", "train_error", "training_seconds", "parameters"),
    figures=("dots", "curves"),
)

_TABLE_3 = {"1x64d": (1, 64), "2x40d": (2, 40), "4x24d": (4, 24), "8x14d": (8, 14), "32x4d": (32, 4)}
_TABLE_4 = {"deeper": "ResNet-200 (1x64d)", "wider": "ResNet-101 wider (1x100d)", "2x64d": "ResNeXt-101 (2x64d)",
            "64x4d": "ResNeXt-101 (64x4d)"}  # fmt: skip
_TOP1 = {"metric": "top-1 error % (single crop 224)"}


def _grouped(depth: int, twice: int | None = None) -> dict[str, str]:
    """Table 3's templates at `depth`, and with `twice` Table 4's at about twice the cost: deeper (of `twice` layers) or wider or more
    groups."""
    networks = {name: f"cifar-resnext{depth}-{c}x{d}d:{SMALL}" for name, (c, d) in _TABLE_3.items()}
    if twice is not None:
        networks |= {"deeper": f"cifar-resnext{twice}-1x64d:{SMALL}", "wider": f"cifar-resnext{depth}-1x100d:{SMALL}",
                     "2x64d": f"cifar-resnext{depth}-2x64d:{SMALL}", "64x4d": f"cifar-resnext{depth}-64x4d:{SMALL}"}  # fmt: skip
    return networks


_PAPER_NETWORKS = {
    **{name: f"resnext50-{c}x{d}d" for name, (c, d) in _TABLE_3.items()},
    "deeper": "resnet200", "wider": "resnext101-1x100d", "2x64d": "resnext101-2x64d", "64x4d": "resnext101-64x4d",
}  # fmt: skip

CARDINALITY = Study(
    name="cardinality",
    title="Cardinality",
    question="Do more groups help more than width or depth, at equal cost?",
    claim="At equal cost more groups lower the error, and more than going deeper or wider does.",
    answers_to="Xie 2016 Tables 3, 4",
    paper=RESNEXT_IMAGENET,
    recipe=HE_RECIPE,
    arms=(
        *(
            Arm(
                name=name,
                paper_network=_PAPER_NETWORKS[name],
                series="equal cost",
                order=c,
                answers=Answer(
                    table="resnext/table_3",
                    model="ResNet-50 (1x64d)" if c == 1 else f"ResNeXt-50 ({name})",
                    where=_TOP1,
                ),
            )
            for name, (c, _) in _TABLE_3.items()
        ),
        *(
            Arm(name=name, paper_network=_PAPER_NETWORKS[name], answers=Answer(table="resnext/table_4", model=model, where=_TOP1))
            for name, model in _TABLE_4.items()
        ),
    ),
    rungs=(
        Rung(name="11 layers", networks=_grouped(11), minimum_steps=300, recipe=NO_AUGMENTATION),
        Rung(name="11 and 20 layers", networks=_grouped(11, 20), minimum_steps=600, recipe=NO_AUGMENTATION),
        Rung(name="20 and 38 layers", networks=_grouped(20, 38), minimum_steps=2_000, recipe=NO_AUGMENTATION),
        Rung(name="paper", networks=_PAPER_NETWORKS, minimum_steps=60_000, recipe={"batch_size": 256}),
    ),
    comparisons=(
        Comparison(
            statement="{arm} has a higher test error than {other}",
            metric="test_error",
            arm="equal cost:first",
            other="equal cost:last",
        ),
        Comparison(
            statement="{arm} has a higher training error than {other}",
            metric="train_error",
            arm="equal cost:first",
            other="equal cost:last",
            key=False,
        ),
        Comparison(statement="{arm} has a higher test error than {other}", metric="test_error", arm="deeper", other="64x4d"),
        Comparison(statement="{arm} has a higher test error than {other}", metric="test_error", arm="wider", other="64x4d"),
    ),
    metrics=("test_error", "train_error", "parameters"),
    figures=("dots", "curves"),
)
