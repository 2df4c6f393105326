"""detectron2's Faster R-CNNs, rebuilt here from the names and shapes of their tensors alone.

The detector that the names mean is computed below by hand with plain functions: blue, green, red pixels in [0, 255]; a ResNet with frozen
norms and the stride in the 1x1; a region proposal network of one logit per anchor, anchors ordered by size and then ratio; RoIAlign with
aligned pixels; res5 (C4) or two linear layers (FPN) as the head; the background as the last class, without box offsets.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms, nms, roi_align

from resnets.detection.detector import Detector
from resnets.detection.detectron2_weights import (
    PEERS,
    detect_spec,
    detectron2_spec,
    load_detectron2,
)
from resnets.detection.spec import DetectorSpec
from resnets.weights.layouts import convert, layout_keys

BLOCKS = (3, 4, 6, 3)
NUM_CLASSES = 5
"""Without the background."""
PIXEL_MEAN = (103.530, 116.280, 123.675)
SMALL = {
    "network": "resnet50-v1:width=8,stem_width=8",
    "num_classes": NUM_CLASSES + 1,
    "min_size": (96,),
    "pyramid_width": 16,
    "head_width": 24,
    "rpn_pre_nms_test": 200,
    "rpn_post_nms_test": 40,
}
SIZES = {"C4": ((16, 32, 64),), "FPN": ((8,), (16,), (32,), (64,), (96,))}
RATIOS = (0.5, 1.0, 2.0)


def small_spec(layout: str) -> DetectorSpec:
    return detectron2_spec(f"COCO-Detection/faster_rcnn_R_50_{layout}_1x", **SMALL, anchor_sizes=SIZES[layout])


def state_of(layout: str) -> dict[str, Tensor]:
    """A checkpoint with random values."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def weight(name: str, *shape: int, bias: bool = True, gain: float = 1.0) -> None:
        fan_in = math.prod(shape[1:])
        state[f"{name}.weight"] = torch.randn(*shape, generator=generator) * gain / fan_in**0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1

    def layer(name: str, c_in: int, c_out: int, kernel: int, gain: float = 1.4) -> None:
        weight(name, c_out, c_in, kernel, kernel, bias=False, gain=gain)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            value = torch.rand(c_out, generator=generator)
            state[f"{name}.norm.{leaf}"] = value + 0.5 if leaf in ("weight", "running_var") else value - 0.5

    trunk = "backbone." if layout == "C4" else "backbone.bottom_up."
    layer(trunk + "stem.conv1", 3, 8, 7, gain=0.02)
    channels = 8
    for stage, blocks in enumerate(BLOCKS):
        inner, out = 8 * 2**stage, 32 * 2**stage
        for unit in range(blocks):
            name = ("roi_heads." if stage == 3 and layout == "C4" else trunk) + f"res{stage + 2}.{unit}"
            if unit == 0:
                layer(f"{name}.shortcut", channels, out, 1, gain=1.0)
            layer(f"{name}.conv1", channels, inner, 1)
            layer(f"{name}.conv2", inner, inner, 3)
            layer(f"{name}.conv3", inner, out, 1, gain=0.3)
            channels = out
    width, features = 128, 256
    if layout == "FPN":
        width, features = 16, 24
        for stage in range(4):
            weight(f"backbone.fpn_lateral{stage + 2}", 16, 32 * 2**stage, 1, 1)
            weight(f"backbone.fpn_output{stage + 2}", 16, 16, 3, 3)
        weight("roi_heads.box_head.fc1", 24, 16 * 49)
        weight("roi_heads.box_head.fc2", 24, 24)
    anchors = len(SIZES[layout][0]) * len(RATIOS)
    weight("proposal_generator.rpn_head.conv", width, width, 3, 3)
    weight("proposal_generator.rpn_head.objectness_logits", anchors, width, 1, 1)
    weight("proposal_generator.rpn_head.anchor_deltas", 4 * anchors, width, 1, 1, gain=0.3)
    weight("roi_heads.box_predictor.cls_score", NUM_CLASSES + 1, features, gain=0.5 if layout == "C4" else 2)
    weight("roi_heads.box_predictor.bbox_pred", 4 * NUM_CLASSES, features)
    return state


def conv(state: dict[str, Tensor], name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    x = functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)
    if f"{name}.norm.weight" in state:
        norm = [state[f"{name}.norm.{leaf}"].view(1, -1, 1, 1) for leaf in ("weight", "bias", "running_mean", "running_var")]
        x = (x - norm[2]) / (norm[3] + 1e-5).sqrt() * norm[0] + norm[1]
    return x


def stage_of(state: dict[str, Tensor], prefix: str, blocks: int, stride: int, x: Tensor) -> Tensor:
    for unit in range(blocks):
        name, step = f"{prefix}.{unit}", stride if unit == 0 else 1
        shortcut = conv(state, f"{name}.shortcut", x, step) if unit == 0 else x
        y = torch.relu(conv(state, f"{name}.conv1", x, step))
        y = torch.relu(conv(state, f"{name}.conv2", y, 1, 1))
        x = torch.relu(conv(state, f"{name}.conv3", y) + shortcut)
    return x


def moved(boxes: Tensor, deltas: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Boxes (n, 4) by deltas (n, 4)."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x = boxes[:, 0] + wide / 2 + deltas[:, 0] / weights[0] * wide
    y = boxes[:, 1] + high / 2 + deltas[:, 1] / weights[1] * high
    limit = math.log(1000 / 16)
    wide = wide * (deltas[:, 2] / weights[2]).clamp(max=limit).exp()
    high = high * (deltas[:, 3] / weights[3]).clamp(max=limit).exp()
    return torch.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], 1)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    return torch.stack([boxes[:, i].clamp(0, (width, height)[i % 2]) for i in range(4)], 1)


def by_hand(state: dict[str, Tensor], layout: str, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, classes from 0 and scores in an image (3, H, W), red first, in [0, 1], whose size needs no resizing."""
    height, width = image.shape[1:]
    pixels = image.flip(0) * 255 - torch.tensor(PIXEL_MEAN).view(3, 1, 1)
    trunk = "backbone." if layout == "C4" else "backbone.bottom_up."
    x = torch.relu(conv(state, trunk + "stem.conv1", pixels[None], 2, 3))
    x = functional.max_pool2d(x, 3, 2, 1)
    maps = []
    for stage, blocks in enumerate(BLOCKS[: 3 if layout == "C4" else 4]):
        x = stage_of(state, f"{trunk}res{stage + 2}", blocks, 1 if stage == 0 else 2, x)
        maps.append(x)
    strides = [16]
    if layout == "C4":
        maps = maps[-1:]
    else:
        strides, above, pyramid = [4, 8, 16, 32, 64], None, []
        for level in (5, 4, 3, 2):
            inner = conv(state, f"backbone.fpn_lateral{level}", maps[level - 2])
            above = inner if above is None else inner + functional.interpolate(above, scale_factor=2.0, mode="nearest")
            pyramid.insert(0, conv(state, f"backbone.fpn_output{level}", above, padding=1))
        maps = [*pyramid, functional.max_pool2d(pyramid[-1], 1, 2)]
    boxes_, logits_, levels_ = [], [], []
    for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
        hidden = torch.relu(conv(state, "proposal_generator.rpn_head.conv", x, padding=1))
        logits = conv(state, "proposal_generator.rpn_head.objectness_logits", hidden)[0]
        deltas = conv(state, "proposal_generator.rpn_head.anchor_deltas", hidden)[0]
        rows = []
        for r in range(x.shape[2]):
            for c in range(x.shape[3]):
                cells = [(size, ratio) for size in SIZES[layout][level] for ratio in RATIOS]
                for a, (size, ratio) in enumerate(cells):
                    wide = math.sqrt(size**2 / ratio)
                    high = ratio * wide
                    anchor = (c * stride - wide / 2, r * stride - high / 2, c * stride + wide / 2, r * stride + high / 2)
                    rows.append((anchor, logits[a, r, c], deltas[4 * a : 4 * a + 4, r, c]))
        every = moved(torch.tensor([row[0] for row in rows]), torch.stack([row[2] for row in rows]), (1, 1, 1, 1))
        scores, places = torch.stack([row[1] for row in rows]).topk(min(200, len(rows)))
        boxes_.append(inside(every[places], height, width))
        logits_.append(scores)
        levels_.append(torch.full((len(scores),), level))
    boxes, logits = torch.cat(boxes_), torch.cat(logits_)
    whole = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero()[:, 0]
    kept = whole[batched_nms(boxes[whole], logits[whole], torch.cat(levels_)[whole], 0.7)][:40]
    proposals = boxes[kept]
    if layout == "C4":
        pooled = roi_align(maps[0], [proposals], 14, 1 / 16, 0, aligned=True)
        features = stage_of(state, "roi_heads.res5", 3, 2, pooled).mean((2, 3))
    else:
        side = ((proposals[:, 2] - proposals[:, 0]) * (proposals[:, 3] - proposals[:, 1])).sqrt()
        wanted = (4 + (side / 224 + 1e-8).log2()).floor().clamp(2, 5)
        features = torch.zeros(len(proposals), 24)
        for level in (2, 3, 4, 5):
            pooled = roi_align(maps[level - 2], [proposals[wanted == level]], 7, 1 / 2**level, 0, aligned=True).flatten(1)
            for i in (1, 2):
                name = f"roi_heads.box_head.fc{i}"
                pooled = torch.relu(functional.linear(pooled, state[f"{name}.weight"], state[f"{name}.bias"]))
            features[wanted == level] = pooled
    scores, offsets = (
        functional.linear(features, state[f"roi_heads.box_predictor.{name}.weight"], state[f"roi_heads.box_predictor.{name}.bias"])
        for name in ("cls_score", "bbox_pred")
    )
    probabilities = scores.softmax(1)
    found = []
    for k in range(NUM_CLASSES):
        own = inside(moved(proposals, offsets[:, 4 * k : 4 * k + 4], (10, 10, 5, 5)), height, width)
        sure = probabilities[:, k] > 0.05
        best = nms(own[sure], probabilities[sure, k], 0.5)
        found += [(float(s), k, b) for s, b in zip(probabilities[sure, k][best], own[sure][best], strict=True)]
    found.sort(key=lambda each: -each[0])
    found = found[:100]
    return torch.stack([f[2] for f in found]), torch.tensor([f[1] for f in found]), torch.tensor([f[0] for f in found])


@pytest.mark.parametrize("layout", ["C4", "FPN"])
@torch.inference_mode()
def test_a_checkpoint_gives_what_the_detector_computes_by_hand(layout: str) -> None:
    state, image = state_of(layout), torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(1))
    detector = Detector(small_spec(layout)).eval()
    detector.load_state_dict(convert(state, spec=detector.spec, source="detectron2"))
    (found,) = detector([image])
    boxes, classes, scores = by_hand(state, layout, image)
    assert len(scores) > 20
    assert len(classes.unique()) >= 3
    assert float(scores.std()) > 0.01
    torch.testing.assert_close(found["scores"], scores, rtol=2e-4, atol=2e-5)
    assert torch.equal(found["labels"] - 1, classes)
    torch.testing.assert_close(found["boxes"], boxes, rtol=1e-4, atol=5e-3)


@pytest.mark.parametrize("layout", ["C4", "FPN"])
def test_there_and_back_gives_every_tensor_again(layout: str) -> None:
    state, spec = state_of(layout), small_spec(layout)
    ours = convert(state, spec=spec, source="detectron2")
    back = convert(ours, spec=spec, source="resnets", target="detectron2")
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())
    again = convert(back, spec=spec, source="detectron2")
    assert all(torch.equal(again[name], value) for name, value in ours.items())
    # The background's box offsets, which nothing reads, come as zeros.
    assert not ours["box_predictor.deltas.weight"][:4].any()


@pytest.mark.parametrize("name", list(PEERS))
def test_every_tensor_of_the_model_zoos_detectors_has_a_name(name: str) -> None:
    keys = layout_keys("detectron2", PEERS[name])
    assert len(set(keys.values())) == len(keys)
    prefix = "backbone.bottom_up." if "FPN" in name else "backbone."
    assert keys["network.conv4_x.5.residual.norm2.running_var"] == f"{prefix}res4.5.conv2.norm.running_var"
    assert keys["proposer.convs.0.weight"] == "proposal_generator.rpn_head.conv.weight"
    if "FPN" in name:
        assert keys["box_head.layers.1.bias"] == "roi_heads.box_head.fc2.bias"
        assert keys["neck.output.p3.conv.weight"] == "backbone.fpn_output3.weight"
    else:
        assert keys["box_head.conv5_x.0.shortcut.match.conv.weight"] == "roi_heads.res5.0.shortcut.weight"


def test_settings_in_old_checkpoints_are_compared_with_the_spec() -> None:
    spec = small_spec("C4")
    cells = [(math.sqrt(s * s / r), r * math.sqrt(s * s / r)) for s in SIZES["C4"][0] for r in RATIOS]
    settings = {
        "pixel_mean": torch.tensor(PIXEL_MEAN).view(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in cells]),
    }
    assert (
        convert({**state_of("C4"), **settings}, spec=spec, source="detectron2").keys()
        == convert(state_of("C4"), spec=spec, source="detectron2").keys()
    )
    with pytest.raises(ValueError, match=r"pixel_std .* the spec needs image_std=\(0\.229"):
        convert({**state_of("C4"), "pixel_std": torch.tensor([57.375, 57.120, 58.395])}, spec=spec, source="detectron2")
    with pytest.raises(ValueError, match="are not the anchors of sizes"):
        convert({**state_of("C4"), **settings}, spec=spec.updated(anchor_sizes=((16, 32, 128),)), source="detectron2")


def test_every_tensor_is_used_or_it_is_an_error() -> None:
    state, spec = state_of("C4"), small_spec("C4")
    with pytest.raises(ValueError, match=r"left over: roi_heads\.mask_head\.deconv\.weight"):
        convert({**state, "roi_heads.mask_head.deconv.weight": torch.zeros(1)}, spec=spec, source="detectron2")
    lacking = {name: value for name, value in state.items() if name != "roi_heads.res5.1.conv2.weight"}
    with pytest.raises(ValueError, match=r"missing: roi_heads\.res5\.1\.conv2\.weight"):
        convert(lacking, spec=spec, source="detectron2")
    with pytest.raises(
        ValueError, match=r"cls_score\.weight is \(6, 256\) where the spec's box_predictor\.scores\.weight makes it \(9, 256\)"
    ):
        convert(state, spec=spec.updated(num_classes=9), source="detectron2")
    with pytest.raises(ValueError, match="objectness_logits"):
        convert(state, spec=spec.updated(anchor_sizes=((16, 32),)), source="detectron2")


def test_norms_whose_statistics_were_folded_away_have_mean_0_and_variance_1() -> None:
    state = {name: value for name, value in state_of("C4").items() if not name.endswith(("running_mean", "running_var"))}
    ours = convert(state, spec=small_spec("C4"), source="detectron2")
    assert not ours["network.conv2_x.0.residual.norm1.running_mean"].any()
    assert (ours["box_head.conv5_x.2.residual.norm3.running_var"] == 1).all()


def test_what_detectron2_cannot_have_is_refused() -> None:
    for fields in ({"rpn_objectness": "softmax"}, {"global_context": True}, {"rpn_convolutions": 2}):
        with pytest.raises(ValueError, match=f"detectron2 has no detector with {next(iter(fields))}"):
            layout_keys("detectron2", small_spec("C4").updated(**fields))
    with pytest.raises(ValueError, match="detectron2 has no network with"):
        layout_keys("detectron2", small_spec("FPN").updated(network="resnet50-d"))
    with pytest.raises(ValueError, match=r"no configuration .*; there are COCO-Detection/faster_rcnn_R_50_C4_1x"):
        detectron2_spec("COCO-Detection/retinanet_R_50_FPN_1x")
    assert detectron2_spec("configs/COCO-Detection/faster_rcnn_R_101_C4_3x.yaml").network == "resnet101-v1"


@pytest.mark.parametrize("layout", ["C4", "FPN"])
def test_the_model_zoos_pickle_is_read_without_being_told_what_it_is(tmp_path: Path, layout: str) -> None:
    expected = PEERS[f"COCO-Detection/faster_rcnn_R_50_{layout}_1x"].updated(num_classes=NUM_CLASSES + 1)
    with torch.device("meta"):
        state = convert(Detector(expected).state_dict(), spec=expected, source="resnets", target="detectron2")
    assert detect_spec(state) == expected
    wide = expected.updated(num_classes=81)
    with torch.device("meta"):
        assert detect_spec(convert(Detector(wide).state_dict(), spec=wide, source="resnets", target="detectron2")) == wide
    small, spec = state_of(layout), small_spec(layout)
    content = {"model": {name: value.numpy() for name, value in small.items()}, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "model_final.pkl").write_bytes(pickle.dumps(content, 2))
    detector = load_detectron2(tmp_path / "model_final.pkl", spec)
    assert not detector.training
    np.testing.assert_array_equal(
        detector.state_dict()["network.conv1.conv.weight"].flip(1).numpy(),
        small["backbone.stem.conv1.weight" if layout == "C4" else "backbone.bottom_up.stem.conv1.weight"].numpy(),
    )
    with pytest.raises(ValueError, match=r"model_final\.pkl: res4 has 6 units, and res2's 3x3 convolutions see 8 channels"):
        load_detectron2(tmp_path / "model_final.pkl")
    with pytest.raises(ValueError, match=r"model_final\.pkl: .*of another shape"):
        load_detectron2(tmp_path / "model_final.pkl", spec.updated(num_classes=9))


def test_a_backbone_alone_is_no_detector() -> None:
    with pytest.raises(ValueError, match="no tensors of a Faster R-CNN"):
        detect_spec({"stem.conv1.weight": torch.zeros(1)})
    state = state_of("C4")
    shallow = {name: value for name, value in state.items() if ".res4.3." not in name}
    with pytest.raises(ValueError, match="res4 has 5 units"):
        detect_spec(shallow)
