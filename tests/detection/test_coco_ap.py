"""COCO's twelve numbers: equal to those of pycocotools, which wrote them down first, and cases worked by hand."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from resnets.data.annotations.objects import Objects
from resnets.detection.coco_ap import NUMBERS, CocoAP, coco_annotations, coco_ap, coco_results
from resnets.detection.detections import Detections

pytest.importorskip("faster_coco_eval")


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32))


def random_images(seed: int, count: int = 25, num_classes: int = 4) -> tuple[list[Objects], list[Detections]]:
    """Objects of all sizes, some of them crowds, and detections near them and elsewhere, many with one score."""
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for _ in range(count):
        n = int(rng.integers(0, 9))
        corners, sides = rng.uniform(0, 300, (n, 2)), rng.choice([12, 60, 160], (n, 1)) * rng.uniform(0.6, 1.4, (n, 2))
        boxes = np.concatenate([corners, corners + sides], 1).astype(np.float32)
        labels = rng.integers(0, num_classes - 1, n)  # the last class has no objects
        areas = (sides.prod(1) * rng.uniform(0.4, 1, n)).astype(np.float32)
        objects.append(Objects.of(boxes, labels, crowd=rng.random(n) < 0.15, areas=areas))
        near = np.repeat(boxes, 3, 0) + rng.normal(0, 0.08, (3 * n, 4)) * np.repeat(sides, 3, 0)[:, [0, 1, 0, 1]]
        stray = rng.uniform(0, 200, (6, 2))
        everything = np.concatenate([near, np.concatenate([stray, stray + rng.uniform(5, 120, (6, 2))], 1)]).astype(np.float32)
        guessed = np.concatenate([np.repeat(labels, 3), rng.integers(0, num_classes, 6)]).astype(np.int64)
        detections.append(Detections(everything, guessed, rng.integers(1, 30, len(everything)).astype(np.float32) / 32))
    return objects, detections


def by_pycocotools(objects: list[Objects], detections: list[Detections], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The twelve numbers, and the precisions (T, R, K)."""
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = coco_annotations(objects, num_classes)
        truth.createIndex()
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(coco_results(detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][..., 0, -1]


@pytest.mark.parametrize("seed", range(3))
def test_random_detections_give_pycocotools_numbers(seed: int) -> None:
    objects, detections = random_images(seed)
    result, (stats, precision) = coco_ap(objects, detections, 4), by_pycocotools(objects, detections, 4)
    assert list(result.numbers) == list(NUMBERS)
    assert list(result.numbers.values()) == pytest.approx(stats.tolist(), abs=1e-9)
    assert min(stats) > 0.02  # the comparison is of numbers that say something
    assert result.class_ap[:3] == pytest.approx(precision[..., :3].mean((0, 1)), abs=1e-9)
    assert result.class_ap50[:3] == pytest.approx(precision[0, :, :3].mean(0), abs=1e-9)
    assert (result.class_ap[3], result.class_ap50[3]) == (None, None)


def test_more_than_a_hundred_detections_are_cut_to_the_surest_hundred() -> None:
    objects = [Objects.of([[0, 0, 50, 50]], [0])]
    boxes = [[200.0 + i, 200, 230 + i, 230] for i in range(100)] + [[0.0, 0, 50, 50]]
    scores = [0.9] * 100 + [0.1]
    assert coco_ap(objects, [found(boxes, [0] * 101, scores)], 1).numbers["ap"] == 0
    assert coco_ap(objects, [found(boxes[1:], [0] * 100, scores[1:])], 1).numbers["ap"] == pytest.approx(0.01)


def numbers_of(objects: Objects, detections: Detections) -> dict[str, float | None]:
    return coco_ap([objects], [detections], 1).numbers


def test_overlap_counts_from_a_half_to_95_hundredths_by_hand() -> None:
    # 100 x 100 found as 100 x 82: overlap 0.82 passes seven of the ten thresholds, 0.5 to 0.8.
    numbers = numbers_of(Objects.of([[0, 0, 100, 100]], [0]), found([[0, 0, 100, 82]], [0], [0.9]))
    assert numbers["ap"] == pytest.approx(0.7)
    assert (numbers["ap50"], numbers["ap75"]) == (1, 1)
    assert (numbers["ap_small"], numbers["ap_medium"]) == (None, None)
    assert (numbers["ap_large"], numbers["ar1"]) == (pytest.approx(0.7), pytest.approx(0.7))


def test_size_is_the_objects_area_and_not_the_boxs() -> None:
    objects = Objects.of([[0, 0, 100, 100]], [0], areas=[900.0])
    numbers = numbers_of(objects, found([[0, 0, 100, 100]], [0], [0.9]))
    assert (numbers["ap_small"], numbers["ap_large"]) == (1, None)


def test_many_detections_in_a_crowd_are_left_out() -> None:
    object_, crowd = [0.0, 0, 40, 40], [100.0, 0, 300, 200]
    inside = [[110.0 + 20 * i, 20, 150 + 20 * i, 60] for i in range(5)]
    detections = found([*inside, object_], [0] * 6, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert numbers_of(Objects.of([object_, crowd], [0, 0], crowd=[False, True]), detections)["ap"] == pytest.approx(1)
    assert numbers_of(Objects.of([object_], [0]), detections)["ap"] == pytest.approx(1 / 6)


def test_a_difficult_object_is_left_out_once_and_by_ordinary_overlap() -> None:
    easy, hard = [0.0, 0, 40, 40], [100.0, 0, 300, 200]
    objects = Objects.of([easy, hard], [0, 0], difficult=[False, True])
    assert numbers_of(objects, found([hard, easy], [0, 0], [0.9, 0.4]))["ap"] == pytest.approx(1)
    # A small box inside it is no detection of it.
    assert numbers_of(objects, found([[110, 20, 150, 60], easy], [0, 0], [0.9, 0.4]))["ap"] == pytest.approx(0.5)
    assert numbers_of(Objects.of([hard], [0], difficult=[True]), found([hard], [0], [0.9]))["ap"] is None


def test_nothing_found_and_nothing_there() -> None:
    nothing = found([], [], [])
    empty = coco_ap([Objects.of([[0, 0, 9, 9]], [0])], [nothing], 2)
    assert (empty.numbers["ap"], empty.numbers["ar100"], empty.class_ap) == (0, 0, (0, None))
    unknown = dict.fromkeys(NUMBERS)
    assert coco_ap([Objects.of([], [])], [nothing], 1) == CocoAP(unknown, (None,), (None,))
    assert coco_ap([Objects.of([], [])], [found([[0, 0, 9, 9]], [0], [0.5])], 1).numbers == unknown


def test_a_label_outside_the_classes_is_an_error() -> None:
    with pytest.raises(ValueError, match="label 2 of a detection is none of the 2 classes"):
        coco_ap([Objects.of([], [])], [found([[0, 0, 9, 9]], [2], [0.5])], 2)
