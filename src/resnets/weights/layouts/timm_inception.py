"""timm's names for the modules of Inception-v4 and Inception-ResNet-v2, made from the same layouts as the modules themselves.

timm calls the branches of a concatenation `branch0`, `branch1`, ...: a branch of one layer has that name, the layers of a longer one
`branch1.0`, `branch1.1`, ... (a pool counts), and where a branch splits again `branch1_0`, `branch1_1a`, `branch1_1b`.
"""

from __future__ import annotations

from ...networks import NetworkSpec
from ...networks.inception import LINEAR, RESIDUALS, STEMS, TRANSITIONS, Conv, Layout, Split, step_names
from .table import require

V4_STEM = {  # Mixed3a and Mixed5a pool in one branch and convolve in the other, which is just `conv`
    "conv1.conv1": "features.0",
    "conv1.conv2": "features.1",
    "conv1.conv3": "features.2",
    "conv1.split1.branches.1.conv1": "features.3.conv",
    "conv1.split3.branches.0.conv1": "features.5.conv",
}

RESNET_V2_STEM = {
    "conv1.conv1": "conv2d_1a",
    "conv1.conv2": "conv2d_2a",
    "conv1.conv3": "conv2d_2b",
    "conv1.conv4": "conv2d_3b",
    "conv1.conv5": "conv2d_4a",
}


def inception_rows(spec: NetworkSpec) -> dict[str, str]:
    """timm's names for Inception-v4 or Inception-ResNet-v2.

    Raises:
        ValueError: the spec is another Inception network.
    """
    family = "v4" if spec.stem == "inception-v4" and "inception-v4-a" in spec.stage_residuals else "resnet-v2"
    v4 = family == "v4"
    require(
        "timm",
        spec,
        stem=(f"inception-{family}",),
        residual=(tuple(f"inception-{family}-{letter}" for letter in "abc"),),
        transitions=((None, f"reduction-a-{family}", f"reduction-b-{family}"),),
        blocks=((4, 7, 3) if v4 else (10, 20, 10),),
        residual_scale=(1.0,) if v4 else ((0.17, 0.10, 0.20),),
        linear_last_unit=(not v4,),
        final_width=(0 if v4 else 1536,),
        shortcut=("none" if v4 else "B",),
        join=("sum",),
        shortcut_scale=(1.0,),
        squeeze_excitation=(0,),
        conv_bias=(False,),
        head=("classes",),
    )
    if v4:
        rows = {**V4_STEM, **_branches("conv1.split2", "features.4.", STEMS["inception-v4"][4]), "head.fc": "last_linear"}
        # One flat list of modules: 6 of the stem, 4 A, a reduction, 7 B, a reduction, 3 C.
        stages = ["features.{unit+6}.", "features.{unit+11}.", "features.{unit+19}."]
        reductions = ["features.10.", "features.18."]
    else:
        rows = {**RESNET_V2_STEM, **_branches("conv1.split1", "mixed_5b.", STEMS["inception-resnet-v2"][-1])}
        rows |= {"final": "conv2d_7b", "head.fc": "classif"}
        stages = ["repeat.{unit}.", "repeat_1.{unit}.", "repeat_2.{unit}."]
        reductions = ["mixed_6a.", "mixed_7a."]
        # The last unit is apart. Its rows come before those of its stage, which would match it too.
        rows |= _unit("conv4_x.9.", "block8.", RESIDUALS["inception-resnet-v2-c"])
    for stage, kind, theirs in zip(spec.stage_names, spec.stage_residuals, stages, strict=True):
        rows |= _unit(f"{stage}.{{unit}}.", theirs, RESIDUALS[kind])
    for stage, transition, theirs in zip(spec.stage_names[1:], spec.transitions[1:], reductions, strict=True):
        if transition is not None:
            rows |= _branches(f"transitions.{stage}.split1", theirs, TRANSITIONS[transition][0])
    # A convolution with its norm is one module there too, `conv` and `bn`; the linear one and the classifier are not.
    return {
        ours + part: theirs + their_part
        for ours, theirs in rows.items()
        for part, their_part in (
            (("", ""),) if ours == "head.fc" or theirs.endswith("conv2d") else ((".conv", ".conv"), (".norm", ".bn"))
        )
    }


def _unit(ours: str, theirs: str, layout: Layout) -> dict[str, str]:
    rows = _branches(f"{ours}residual.split1", theirs, layout[0])
    return rows | ({f"{ours}residual.conv1": f"{theirs}conv2d"} if layout[-1] is LINEAR else {})


def _branches(ours: str, theirs: str, step: object) -> dict[str, str]:
    """Names of a concatenation's convolutions; `theirs` ends in a dot, or is empty."""
    assert isinstance(step, Split)
    rows = {}
    for number, branch in enumerate(step.branches):
        splits = any(isinstance(part, Split) for part in branch)
        for position, (name, part) in enumerate(zip(step_names(branch), branch, strict=True)):
            path, place = f"{ours}.branches.{number}.{name}", f"{theirs}branch{number}"
            if isinstance(part, Split):
                for inner, letter in zip(range(len(part.branches)), "ab", strict=True):
                    rows[f"{path}.branches.{inner}.conv1"] = f"{place}_{position}{letter}"
            elif isinstance(part, Conv):
                rows[path] = place + (f"_{position}" if splits else f".{position}" if len(branch) > 1 else "")
    return rows
