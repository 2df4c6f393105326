"""He 2015 §4.1: what a bottleneck saves. Counted, not trained."""

from __future__ import annotations

from ..experiment import Answer, Arm, Comparison, Rung, Setting, Study

_UNIT = "blocks=[1],stem=cifar,stem_width=256,strides=[1],shortcut=A,input_size=14"
_UNITS = {
    "basic unit, 256": f"resnet18:{_UNIT},width=256",
    "bottleneck unit, 256": f"resnet50:{_UNIT},width=64",
}
_NETWORKS = {
    "ResNet-18": "resnet18", "ResNet-34": "resnet34", "ResNet-50": "resnet50-v1", "ResNet-101": "resnet101-v1",
    "ResNet-152": "resnet152-v1", "VGG-16": "torchvision/vgg16", "VGG-19": "torchvision/vgg19",
}  # fmt: skip

BOTTLENECK = Study(
    name="bottleneck",
    title="Bottleneck",
    question="What does a bottleneck save in parameters and cost?",
    claim="On 256 channels a bottleneck unit has 69,632 weights where a basic one has 1,179,648, 16.94 times as many; so 50 layers cost "
    "little more than 34, and 152 less than VGG's 16.",
    answers_to="He 2015 §4.1, Table 1",
    paper=Setting(),
    arms=(
        *(Arm(name=name, paper_network=network, measurement="count") for name, network in _UNITS.items()),
        *(
            Arm(
                name=name,
                paper_network=network,
                measurement="count",
                series="networks",
                answers=Answer(table="he2015/table_1", model=name),
            )
            for name, network in _NETWORKS.items()
        ),
    ),
    rungs=(Rung(name="paper", networks={**_UNITS, **_NETWORKS}),),
    comparisons=(
        Comparison(
            statement="the {arm} has 16.94 times the weights of the {other}",
            metric="weights",
            arm="basic unit, 256",
            other="bottleneck unit, 256",
            form="ratio",
            relation="equal",
            bound=16.94,
            tolerance=0.005,
        ),
        Comparison(
            statement="the {arm} channels has 1x1x256x64 + 3x3x64x64 + 1x1x64x256 = 69,632 weights",
            metric="weights",
            arm="bottleneck unit, 256",
            relation="equal",
            bound=69_632,
        ),
        Comparison(
            statement="the {arm} channels has 3x3x256x256x2 = 1,179,648 weights",
            metric="weights",
            arm="basic unit, 256",
            relation="equal",
            bound=1_179_648,
        ),
        Comparison(
            statement="{arm} costs at most a tenth more than {other}",
            metric="macs",
            arm="ResNet-50",
            other="ResNet-34",
            form="ratio",
            relation="below",
            bound=1.1,
        ),
        Comparison(
            statement="{arm} costs less than {other}",
            metric="macs",
            arm="ResNet-152",
            other="VGG-16",
            form="ratio",
            relation="below",
            bound=1.0,
        ),
    ),
    metrics=("macs", "parameters", "weights"),
    figures=("counts",),
)
