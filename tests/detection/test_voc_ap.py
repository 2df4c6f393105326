"""VOC's average precision: cases worked by hand, and the development kit's own procedure as a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.data.annotations.objects import Objects
from resnets.detection.detections import Detections, pairwise_iou
from resnets.detection.voc_ap import voc_ap


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), np.array(scores, np.float32))


A, B, C = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]
NOWHERE = [80, 80, 90, 90]


def test_precision_and_recall_by_hand() -> None:
    # Four objects. Surest first: right, wrong, right, right -> recall 1/4, 1/4, 2/4, 3/4 and precision 1, 1/2, 2/3, 3/4.
    objects = [Objects.of([A, B], [0, 0]), Objects.of([A, B], [0, 0])]
    detections = [found([A, NOWHERE, B], [0, 0, 0], [0.9, 0.8, 0.6]), found([A], [0], [0.7])]
    row = voc_ap(objects, detections, 1).classes[0]
    assert row.num_objects == 4
    # The largest precision at a recall or above: 1 up to 1/4, then 3/4 up to 3/4, then nothing.
    assert row.voc12 == pytest.approx(0.25 * 1 + 0.5 * 0.75)
    # 0, 0.1, 0.2 -> 1; 0.3 ... 0.7 -> 3/4; 0.8, 0.9, 1 -> 0.
    assert row.voc07 == pytest.approx((3 * 1 + 5 * 0.75) / 11)


def test_an_object_is_found_once() -> None:
    objects = [Objects.of([A, B], [0, 0])]
    # The second detection of A is wrong: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    row = voc_ap(objects, [found([A, A, B], [0, 0, 0], [0.9, 0.8, 0.7])], 1).classes[0]
    assert row.voc12 == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert row.voc07 == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_difficult_objects_and_crowds_count_neither_for_nor_against() -> None:
    plain = voc_ap([Objects.of([A], [0])], [found([A, NOWHERE], [0, 0], [0.5, 0.4])], 1)
    for kind in ("difficult", "crowd"):
        objects = [Objects.of([A, B], [0, 0], **{kind: [False, True]})]
        # Both detections of B are surer than that of A, and left out.
        assert voc_ap(objects, [found([B, B, A, NOWHERE], [0] * 4, [0.9, 0.8, 0.5, 0.4])], 1) == plain
    alone = voc_ap([Objects.of([A], [0], difficult=[True])], [found([A], [0], [0.9])], 1)
    assert (alone.classes[0].num_objects, alone.voc07, alone.voc12) == (0, None, None)


def test_overlap_of_exactly_a_half_is_enough() -> None:
    objects = [Objects.of([A], [0])]
    assert voc_ap(objects, [found([[0, 0, 10, 20]], [0], [0.9])], 1).voc12 == 1
    assert voc_ap(objects, [found([[0, 0, 10, 20.1]], [0], [0.9])], 1).voc12 == 0


def test_the_object_that_overlaps_most_is_the_one_that_counts() -> None:
    # The detection is nearest to A, which a surer one has claimed: it is wrong although it overlaps B by 0.54, too.
    objects = [Objects.of([A, [4, 0, 14, 10]], [0, 0])]
    detections = [found([A, [1, 0, 11, 10]], [0, 0], [0.9, 0.8])]
    assert voc_ap(objects, detections, 1).voc12 == pytest.approx(0.5)


def test_a_recall_of_three_tenths_reaches_the_threshold_of_three_tenths() -> None:
    objects = [Objects.of([[100 * i, 0, 100 * i + 10, 10] for i in range(10)], [0] * 10)]
    detections = [found([[100 * i, 0, 100 * i + 10, 10] for i in range(3)], [0] * 3, [0.9, 0.8, 0.7])]
    assert voc_ap(objects, detections, 1).voc07 == pytest.approx(4 / 11)


def test_classes_are_measured_apart_and_the_mean_is_over_those_with_objects() -> None:
    objects, detections = [Objects.of([A, B], [0, 1])], [found([A, B, C], [0, 0, 2], [0.9, 0.8, 0.7])]
    result = voc_ap(objects, detections, 3)
    assert [row.voc12 for row in result.classes] == [1, 0, None]
    assert (result.voc12, result.voc07) == (0.5, 0.5)


def test_nothing_found_and_nothing_there() -> None:
    nothing = found([], [], [])
    assert voc_ap([Objects.of([A], [0])], [nothing], 2).voc12 == 0
    assert voc_ap([Objects.of([], [])], [found([A], [0], [0.9])], 2).voc12 is None
    assert voc_ap([], [], 2).voc07 is None


def test_errors_name_the_value() -> None:
    with pytest.raises(ValueError, match="1 lists of detections for 2 images"):
        voc_ap([Objects.of([A], [0])] * 2, [found([], [], [])], 1)
    with pytest.raises(ValueError, match="label 3 of a detection"):
        voc_ap([Objects.of([A], [0])], [found([A], [3], [0.9])], 3)
    with pytest.raises(ValueError, match="label -1 of an object"):
        voc_ap([Objects.of([A], [-1])], [found([], [], [])], 3)


def test_iou_by_hand() -> None:
    boxes = np.array([[0, 0, 4, 2], [5, 5, 5, 5]], np.float32)
    others = np.array([[2, 0, 6, 2], [0, 0, 4, 2], [4, 0, 8, 2], [5, 5, 5, 5]], np.float32)
    assert np.allclose(pairwise_iou(boxes, others), [[4 / 12, 1, 0, 0], [0, 0, 0, 0]])


def devkit(objects: list[Objects], detections: list[Detections], k: int) -> tuple[float, float]:
    """VOCevaldet's steps for class k, one detection after the other, with its corners that are pixels."""
    truth = [
        [
            {"box": [box[0] + 1, box[1] + 1, box[2], box[3]], "difficult": bool(hard), "found": False}
            for box, label, hard in zip(o.boxes.tolist(), o.labels, o.difficult, strict=True)
            if label == k
        ]
        for o in objects
    ]
    positives = sum(not each["difficult"] for image in truth for each in image)
    lines = [
        (score, image, box)
        for image, d in enumerate(detections)
        for box, label, score in zip(d.boxes.tolist(), d.labels, d.scores, strict=True)
        if label == k
    ]
    lines.sort(key=lambda line: -line[0])
    right, wrong = [], []
    for _, image, box in lines:
        best, nearest = -1.0, None
        left, top, end, bottom = box[0] + 1, box[1] + 1, box[2], box[3]
        for each in truth[image]:
            x1, y1, x2, y2 = each["box"]
            width, height = min(end, x2) - max(left, x1) + 1, min(bottom, y2) - max(top, y1) + 1
            if width > 0 and height > 0:
                union = (end - left + 1) * (bottom - top + 1) + (x2 - x1 + 1) * (y2 - y1 + 1) - width * height
                if width * height / union > best:
                    best, nearest = width * height / union, each
        hit = nearest is not None and best >= 0.5
        if hit and nearest["difficult"]:
            right.append(0)
            wrong.append(0)
            continue
        right.append(int(hit and not nearest["found"]))
        wrong.append(1 - right[-1])
        if hit:
            nearest["found"] = True
    recall = np.cumsum(right) / positives
    precision = np.cumsum(right) / np.maximum(np.cumsum(right) + np.cumsum(wrong), 1e-9)
    eleven = (
        sum(max([p for p, r in zip(precision, recall, strict=True) if r >= t / 10 - 1e-9], default=0.0) for t in range(11)) / 11
    )
    r, p = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in range(len(p) - 2, -1, -1):
        p[i] = max(p[i], p[i + 1])
    return eleven, sum((r[i] - r[i - 1]) * p[i] for i in range(1, len(r)) if r[i] != r[i - 1])


@pytest.mark.parametrize("seed", range(4))
def test_random_images_give_what_the_development_kits_loop_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    objects, detections = [], []
    for _ in range(30):
        n = int(rng.integers(0, 7))
        corners = rng.integers(0, 60, (n, 2))
        boxes = np.concatenate([corners, corners + rng.integers(5, 40, (n, 2))], 1).astype(np.float32)
        labels = rng.integers(0, 3, n)
        objects.append(Objects.of(boxes, labels, difficult=rng.random(n) < 0.2))
        near = np.repeat(boxes, 2, 0) + rng.integers(-6, 7, (2 * n, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 2)
        stray = np.concatenate([corners[:2], corners[:2] + 12], 1) if n else np.zeros((0, 4))
        everything = np.concatenate([near, stray]).astype(np.float32)
        guessed = np.concatenate([np.repeat(labels, 2), rng.integers(0, 3, len(stray))])
        scores = rng.permutation(1000)[: len(everything)] / 1000  # ties between images only
        detections.append(Detections(everything, guessed.astype(np.int64), scores.astype(np.float32)))
    result = voc_ap(objects, detections, 3)
    for k, row in enumerate(result.classes):
        assert (row.voc07, row.voc12) == pytest.approx(devkit(objects, detections, k), abs=1e-9)
        assert row.voc12 is not None
        assert 0.05 < row.voc12 < 0.95
