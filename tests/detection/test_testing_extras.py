"""What may be added in testing (He 2015, Appendix A): cases worked by hand, and what has to hold for any detector."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from resnets.detection.boxes import rescaled
from resnets.detection.detector import Detector
from resnets.detection.spec import DetectorSpec, TestTime
from resnets.detection.testing import (
    View,
    best_boxes,
    described,
    detect,
    judge,
    mirrored,
    open_views,
    scaled_batch,
    suitable_scales,
    voted,
)

SMALL = {
    "network": "resnet18:width=8,stem_width=8",
    "num_classes": 4,
    "min_size": 96,
    "max_size": 192,
    "pyramid_width": 16,
    "head_width": 32,
    "rpn_post_nms_test": 30,
    "box_min_score": 0.2,
}
FPN = {**SMALL, "anchor_sizes": ((8,), (16,), (32,), (64,), (96,))}
C4 = {**SMALL, "layout": "c4", "anchor_sizes": ((16, 32, 64),), "roi_size": 4}


def made(**fields: object) -> Detector:
    torch.manual_seed(0)
    detector = Detector(DetectorSpec(**fields)).eval()  # type: ignore[arg-type]
    # An untrained detector says the same of every region; with features brought to one scale it tells them apart.
    batch = detector.prepare([torch.rand(3, 90, 90)])
    with torch.no_grad():
        maps = detector.maps(batch.images)
        features = detector.describe(maps, detector.propose(maps, batch.sizes), batch.sizes)
        for layer, deviation in ((detector.box_predictor.scores, 1.5), (detector.box_predictor.deltas, 1.0)):
            layer.weight.normal_().mul_(deviation / features.std(0).norm())
            layer.bias.copy_(-layer.weight @ features.mean(0))
    return detector


@pytest.fixture(scope="module", params=["fpn", "c4", "context"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return made(**{"fpn": FPN, "c4": C4, "context": {**C4, "global_context": True}}[request.param])


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, *size, generator=generator) for size in ((60, 80), (100, 70))]


def same(found: Sequence[dict[str, Tensor]], expected: Sequence[dict[str, Tensor]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert len(one["boxes"]) > 3  # there is something to compare
        for name in ("boxes", "labels", "scores"):
            torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-4)


@torch.inference_mode()
def test_nothing_added_is_the_detector_itself(detector: Detector, images: list[Tensor]) -> None:
    same(detect(detector, images, TestTime()), detector(images))


@torch.inference_mode()
def test_the_only_scale_being_the_specs_own_changes_nothing(detector: Detector, images: list[Tensor]) -> None:
    same(detect(detector, images, TestTime(sizes=(96,))), detector(images))


@torch.inference_mode()
def test_a_detector_tests_as_its_spec_says_until_it_is_told_otherwise(images: list[Tensor]) -> None:
    options = TestTime(flip=True, voting_iou=0.5)
    detector = made(**FPN)
    plain, added = detector(images), detect(detector, images, options)
    detector.testing = options
    same(detector(images), added)
    assert not torch.equal(plain[0]["scores"], added[0]["scores"])
    assert Detector(detector.spec.updated(testing=options)).testing == options


def test_a_mirrored_box_by_hand() -> None:
    boxes = torch.tensor([[0.0, 1, 10, 5], [70, 0, 80, 9]])
    assert mirrored(boxes, (20, 80)).tolist() == [[70, 1, 80, 5], [0, 0, 10, 9]]
    assert torch.equal(mirrored(mirrored(boxes, (20, 80)), (20, 80)), boxes)


@torch.inference_mode()
def test_predictions_of_an_image_and_its_mirror_image_are_averaged(detector: Detector, images: list[Tensor]) -> None:
    batch, turned = detector.prepare(images), detector.prepare([image.flip(-1) for image in images])
    maps, turned_maps, sizes = detector.maps(batch.images), detector.maps(turned.images), batch.sizes
    proposals = detector.propose(maps, sizes)
    seen = [mirrored(each, size) for each, size in zip(proposals, sizes, strict=True)]
    plain, flipped = detector.classify(maps, proposals, sizes), detector.classify(turned_maps, seen, sizes)
    views = open_views(detector, images, View(maps, sizes), TestTime(flip=True))
    scores, boxes = judge(detector, views, sizes, proposals)
    for i, size in enumerate(sizes):
        torch.testing.assert_close(scores[i], (plain[0][i] + flipped[0][i]) / 2)
        torch.testing.assert_close(boxes[i], (plain[1][i] + mirrored(flipped[1][i], size)) / 2)
        assert (scores[i] - plain[0][i]).abs().max() > 1e-3


@torch.inference_mode()
def test_with_mirroring_an_image_and_its_mirror_image_are_judged_alike(detector: Detector, images: list[Tensor]) -> None:
    options, turned = TestTime(flip=True, sizes=(64, 96, 160)), [image.flip(-1) for image in images]
    batch = detector.prepare(images)
    proposals = detector.propose(detector.maps(batch.images), batch.sizes)
    seen = [mirrored(each, size) for each, size in zip(proposals, batch.sizes, strict=True)]
    base = View([], batch.sizes)  # all scales are given, so that the base image is not looked at
    scores, boxes = judge(detector, open_views(detector, images, base, options), batch.sizes, proposals)
    mirror_scores, mirror_boxes = judge(detector, open_views(detector, turned, base, options), batch.sizes, seen)
    for i, size in enumerate(batch.sizes):
        torch.testing.assert_close(scores[i], mirror_scores[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(boxes[i], mirrored(mirror_boxes[i], size), rtol=1e-4, atol=1e-2)


def test_the_two_scales_around_224_pixels_are_chosen_by_hand() -> None:
    # The base image is 100 x 100; at the scales it is 50, 100, 200 and 400 pixels long.
    scales = [View([], [(side, side)]) for side in (50, 100, 200, 400)]
    sides = torch.tensor([10.0, 100, 112, 113, 224, 300, 1000, 0])
    boxes = torch.stack([torch.zeros_like(sides), torch.zeros_like(sides), sides, sides], 1)
    # 112 is 224 at the third scale; 113 is 226 there and 113 at the second; 1000 is too large even at the first.
    expected = [[2, 3], [2, 3], [2, 3], [1, 2], [1, 2], [0, 1], [0, 1], [2, 3]]
    assert suitable_scales(boxes, 0, scales, (100, 100)).tolist() == expected
    assert suitable_scales(boxes, 0, scales[:1], (100, 100)).tolist() == [[0, 0]] * 8


@torch.inference_mode()
def test_features_are_the_larger_ones_of_both_scales(detector: Detector, images: list[Tensor]) -> None:
    base = detector.prepare(images)
    scales = open_views(detector, images, View([], base.sizes), TestTime(sizes=(160, 64, 96)))[0]
    assert [view.sizes[0][0] for view in scales] == [64, 96, 160]
    # At the scales 64, 96 and 160 a box of 230 pixels would be 153, 230 and 383 long, one of 30 pixels at most 50.
    boxes = [torch.tensor([[0.0, 0, 230, 230], [10, 10, 40, 40]]), torch.tensor([[5.0, 5, 35, 35]])]
    found = described(detector, scales, base.sizes, boxes)
    at = [
        detector.describe(v.maps, [rescaled(b, o, s) for b, o, s in zip(boxes, base.sizes, v.sizes, strict=True)], v.sizes)
        for v in scales
    ]
    torch.testing.assert_close(found[0], torch.maximum(at[0][0], at[1][0]))
    torch.testing.assert_close(found[1:], torch.maximum(at[1][1:], at[2][1:]))
    assert not torch.allclose(found[1:], at[1][1:])


def test_the_limit_of_the_longer_side_grows_with_the_scale() -> None:
    detector = made(**FPN)  # 96 and 192: sides of a ratio of 2
    long = [torch.rand(3, 10, 40)]
    assert [scaled_batch(detector, long, size).sizes for size in (48, 96, 384)] == [[(24, 96)], [(48, 192)], [(192, 768)]]


@torch.inference_mode()
def test_refinement_judges_the_best_regressed_boxes_too(
    detector: Detector, images: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = detector.prepare(images)
    maps = detector.maps(batch.images)
    proposals = detector.propose(maps, batch.sizes)
    scores, boxes = detector.classify(maps, proposals, batch.sizes)
    refined = [best_boxes(*each) for each in zip(scores, boxes, strict=True)]
    again = detector.classify(maps, refined, batch.sizes)
    given: dict[str, list[Tensor]] = {}

    def finish(self: Detector, scores: list[Tensor], boxes: list[Tensor], sizes: object) -> list[dict[str, Tensor]]:
        given.update(scores=scores, boxes=boxes)
        return []

    monkeypatch.setattr(Detector, "finish", finish)
    detect(detector, images, TestTime(box_refinement=True))
    for i in range(len(images)):
        torch.testing.assert_close(given["scores"][i], torch.cat([scores[i], again[0][i]]))
        torch.testing.assert_close(given["boxes"][i], torch.cat([boxes[i], again[1][i]]))


def test_the_best_box_is_that_of_the_most_probable_class_but_the_background() -> None:
    scores = torch.tensor([[0.9, 0.02, 0.08], [0.1, 0.6, 0.3]])
    boxes = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(best_boxes(scores, boxes), torch.stack([boxes[0, 2], boxes[1, 1]]))


def test_voting_by_hand() -> None:
    # Class 1: two boxes that overlap by 8/12, and one elsewhere; class 2 at the same place has no vote.
    boxes = torch.zeros(3, 3, 4)
    boxes[:, 1] = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    boxes[:, 2] = torch.tensor([4.0, 0, 14, 10])
    scores = torch.tensor([[0.1, 0.6, 0.3], [0.1, 0.3, 0.6], [0.8, 0.15, 0.05]])
    found = {"boxes": boxes[[0, 2], [1, 1]], "labels": torch.tensor([1, 1])}
    result = voted(found, scores, boxes, iou=0.5, min_score=0.1)
    # (0.6 * 0 + 0.3 * 2) / 0.9 = 2/3.
    torch.testing.assert_close(result, torch.tensor([[2 / 3, 0, 10 + 2 / 3, 10], [50, 50, 60, 60]]))
    assert torch.equal(found["boxes"][0], boxes[0, 1])  # what was given is left alone
    # With a higher threshold for a vote's score, or for its overlap, the box is alone.
    torch.testing.assert_close(voted(found, scores, boxes, iou=0.5, min_score=0.3)[0], boxes[0, 1])
    torch.testing.assert_close(voted(found, scores, boxes, iou=0.7, min_score=0.1)[0], boxes[0, 1])
    nothing = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert voted(nothing, scores, boxes, iou=0.5, min_score=0.1).shape == (0, 4)


@torch.inference_mode()
def test_voting_moves_boxes_and_keeps_scores_and_labels(detector: Detector, images: list[Tensor]) -> None:
    moved = 0.0
    for plain, voted_ in zip(detector(images), detect(detector, images, TestTime(voting_iou=0.5)), strict=True):
        assert torch.equal(plain["scores"], voted_["scores"])
        assert torch.equal(plain["labels"], voted_["labels"])
        moved = max(moved, float((plain["boxes"] - voted_["boxes"]).abs().max()))
    assert moved > 0.1


@torch.inference_mode()
def test_everything_together_gives_boxes_inside_the_images(detector: Detector, images: list[Tensor]) -> None:
    options = TestTime(box_refinement=True, voting_iou=0.5, flip=True, sizes=(64, 128))
    for image, found in zip(images, detect(detector, images, options), strict=True):
        assert len(found["boxes"])
        assert torch.isfinite(found["boxes"]).all()
        assert found["boxes"].min() >= 0
        assert (found["boxes"][:, 2:].max(0).values <= torch.tensor([image.shape[2], image.shape[1]]) + 1e-3).all()
        assert torch.equal(found["scores"], found["scores"].sort(descending=True).values)


@torch.inference_mode()
def test_images_without_a_proposal_have_no_detections(images: list[Tensor]) -> None:
    for fields in (FPN, C4):
        detector = made(**fields)
        detector.proposer.spec = detector.spec.updated(rpn_min_score=1.0)
        assert not any(map(len, detector.propose(detector.maps(detector.prepare(images).images), [(96, 128), (137, 96)])))
        options = TestTime(box_refinement=True, voting_iou=0.5, flip=True, sizes=(64, 128))
        assert [len(found["boxes"]) for found in detect(detector, images, options)] == [0, 0]


def test_what_a_detector_and_a_command_ask_for_comes_together() -> None:
    own = TestTime(flip=True, voting_iou=0.5, sizes=(144, 160))
    assert own.with_more(TestTime()) == own
    assert TestTime().with_more(own) == own
    asked = own.with_more(TestTime(box_refinement=True, voting_iou=0.6, sizes=(96,)))
    assert asked == TestTime(box_refinement=True, voting_iou=0.6, flip=True, sizes=(96,))
