"""Headers and specs of a stranger: what they ask for is refused in a moment, before anything is built for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from resnets.cli import main
from resnets.core.reading import TRUST
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.detection import get_detector_spec
from resnets.networks import NetworkSpec, get_spec
from resnets.segmentation import get_segmenter_spec
from resnets.weights.model_file import FORMAT, load_model

TINY = get_spec("cifar-resnet8:width=2,stem_width=2", num_classes=2)


def written(path: Path, spec: str = TINY.model_dump_json(), classes: Any = ("a", "b"), size: int = 32) -> Path:
    """A model file with any header, and tensors that have nothing to do with it."""
    preprocessing = Preprocessing(size=32).model_dump_json().replace('"size":32', f'"size":{size}')
    header = {"format": FORMAT, "kind": "classifier", "spec": spec, "classes": json.dumps(classes), "preprocessing": preprocessing}
    save_file({"x": torch.zeros(1)}, path, {**header, "metrics": "{}", "provenance": "{}"})
    return path


HUGE = {
    "blocks": '{"blocks": [1000000000]}',
    "stages": json.dumps({"blocks": [1] * 100_000}),
    "width": json.dumps({"blocks": [1, 1], "width": 10**30}),
    "widths": json.dumps({"blocks": [1, 1], "width": [64, 10**12]}),
    "parameters": json.dumps({"blocks": [1000], "width": [100_000]}),
    "widening": json.dumps({"blocks": [1], "widening_factor": 1e30}),
    "classes": json.dumps({"blocks": [1], "num_classes": 10**12}),
    "channels": json.dumps({"blocks": [1], "in_channels": 10**12}),
    "input": json.dumps({"blocks": [1], "input_size": 10**9}),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_spec_of_any_size_is_refused_before_it_is_built(tmp_path: Path, name: str) -> None:
    """In a process of its own: a reader that builds first never ends, or takes all memory."""
    path = written(tmp_path / "m.safetensors", HUGE[name])
    program = f"import resnets; resnets.load_model({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "RESNETS_LIMITS" in done.stderr
    assert "more than" in done.stderr.splitlines()[-1]


def test_the_limits_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="blocks has units: 4,001, more than 4,000"):
        NetworkSpec(blocks=(4_001,))
    monkeypatch.setenv("RESNETS_LIMITS", "2")
    assert NetworkSpec(blocks=(4_001,), width=8).blocks == (4_001,)
    monkeypatch.setenv("RESNETS_LIMITS", "many")
    with pytest.raises(ValueError, match="RESNETS_LIMITS='many' is not a number"):
        NetworkSpec(blocks=(1,))


@pytest.mark.parametrize("classes", [["a"], ["a", "b", "c"], "ab", [1, 2], None, {"a": 1, "b": 2}])
def test_class_names_are_texts_and_as_many_as_logits(tmp_path: Path, classes: Any) -> None:
    with pytest.raises(ValueError, match=r"header of .*class names"):
        load_model(written(tmp_path / "m.safetensors", classes=classes))


def test_other_headers_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit its spec"):
        load_model(written(tmp_path / "m.safetensors"))
    with pytest.raises(ValueError, match="size is 1,000,000,000"):
        load_model(written(tmp_path / "m.safetensors", size=10**9))


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        (get_detector_spec, "head_convolutions", 10**9), (get_detector_spec, "rpn_convolutions", 10**9),
        (get_detector_spec, "head_layers", 10**9),
        (get_detector_spec, "head_width", 10**9), (get_detector_spec, "pyramid_width", 10**30), (get_detector_spec, "max_size", 10**12),
        (get_detector_spec, "min_size", (10**12,)), (get_segmenter_spec, "head_width", 10**30), (get_segmenter_spec, "subpixels", 10**9),
        (get_segmenter_spec, "size", 10**12),
    ],
)  # fmt: skip
def test_detectors_and_segmenters_are_bounded_too(make: Any, field: str, value: Any) -> None:
    name = "resnet18-fpn" if make is get_detector_spec else "fcn-resnet18"
    with pytest.raises(ValueError, match=rf"{field} is .*more than"):
        make(name, **{field: value})


def test_trust_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.delenv(TRUST, raising=False)
    main(["predict", "no-such.pt2", "x.png", "--trust"])
    assert TRUST not in os.environ


@pytest.mark.parametrize(
    "build",
    [
        lambda: NetworkSpec(blocks=(3, 4, 6, 3), input_size=8_192, stem="cifar", dims=3),
        lambda: NetworkSpec(blocks=(2_000,), width=512, stem="cifar", input_size=8_192),
        lambda: get_detector_spec(
            "resnet50-c4", network="resnet50:stem_stride=1,strides=[1,1,1,1],widening_factor=16", max_size=8_192
        ),
        lambda: get_segmenter_spec(
            "fcn-resnet50", network="resnet50:stem_stride=1,strides=[1,1,1,1],widening_factor=16", size=8_192
        ),
    ],
)
def test_feature_maps_that_would_fill_the_memory_are_refused(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match="the feature maps of an image of 8192 pixels per side have at least about this many values"
    ):
        build()
    monkeypatch.setenv("RESNETS_LIMITS", "100000")
    build()


@pytest.mark.parametrize(
    ("name", "fields", "values"),
    [
        ("resnet50-fpn", {"rpn_post_nms_test": 1_000_000, "roi_size": 64, "pyramid_width": 64}, 1_000_000 * 64**2 * 64),
        ("resnet50-c4", {"box_batch": 400_000, "roi_size": 14}, 400_000 * 14**2 * 256),
    ],
)
def test_boxes_that_would_fill_the_memory_are_refused(
    name: str, fields: dict[str, int], values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each number is within its own limit; what they make together is not."""
    with pytest.raises(ValueError, match=f"the boxes of one image give the head at least this many values: {values:,}"):
        get_detector_spec(name, **fields)
    monkeypatch.setenv("RESNETS_LIMITS", "100")
    get_detector_spec(name, **fields)


def test_the_bound_of_feature_maps_counts_what_the_network_makes() -> None:
    """conv1 and one map per unit, by hand, against what the layers really give."""
    spec = get_spec("cifar-resnet8", input_size=32)
    sizes: list[int] = []
    from resnets.networks import build

    network = build(spec)
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: sizes.append(output[0].numel()))
        for module in (network.conv1, *network.conv2_x, *network.conv3_x, *network.conv4_x)
    ]
    network(torch.zeros(1, 3, 32, 32))
    assert len(hooks) == 4
    assert sum(sizes) == 16 * 32**2 + 16 * 32**2 + 32 * 16**2 + 64 * 8**2
    from resnets.core import limits

    counted = []
    original = limits.check_limit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "resnets.networks.spec.check_limit", lambda what, value, limit: counted.append(value) or original(what, value, limit)
        )
        spec.check_activations(32)
    assert counted == [sum(sizes)]
