"""Evaluation of a detector: everything that goes in is counted once, by one process or several."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnets.data.annotations.objects import Objects
from resnets.detection.coco_ap import coco_ap
from resnets.detection.detections import Detections
from resnets.detection.evaluate import DetectionResult, evaluate_detector
from resnets.detection.voc_ap import voc_ap
from resnets.training.distributed import World

CLASSES = ("cat", "dog", "bird")
COUNT = 11


def make_image(place: int) -> Tensor:
    """An image whose only value is its place."""
    return torch.full((3, 4, 4), float(place))


def objects_of(place: int) -> Objects:
    rng = np.random.default_rng(place)
    n = place % 4
    corners = rng.integers(0, 80, (n, 2))
    return Objects.of(np.concatenate([corners, corners + rng.integers(8, 60, (n, 2))], 1), rng.integers(0, 2, n))


def output_of(place: int) -> dict[str, Tensor]:
    """Detections near most of the objects, and a stray one; image 4 has none at all."""
    rng, there = np.random.default_rng(100 + place), objects_of(place)
    if place == 4:
        return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)}
    boxes = np.concatenate([there.boxes + rng.normal(0, 2, there.boxes.shape), [[5, 5, 20, 20]]]).astype(np.float32)
    labels = torch.tensor([*(there.labels + 1), 3])
    return {"boxes": torch.from_numpy(boxes), "labels": labels, "scores": torch.from_numpy(rng.random(len(boxes), np.float32))}


class Reader(nn.Module):
    """Detects what it is told to in the image whose number it reads."""

    spec = SimpleNamespace(num_classes=len(CLASSES) + 1)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return [output_of(int(image[0, 0, 0])) for image in images]


def batches(places: list[int], size: int = 3) -> Iterator[tuple[list[Tensor], list[int]]]:
    for start in range(0, len(places), size):
        part = places[start : start + size]
        yield [make_image(place) for place in part], part


def expected() -> tuple[list[Objects], list[Detections]]:
    return [objects_of(i) for i in range(COUNT)], [Detections.of(output_of(i)) for i in range(COUNT)]


def test_the_result_is_that_of_the_measures() -> None:
    detector, seen = Reader().train(), []
    result = evaluate_detector(detector, batches(list(range(COUNT))), objects_of, progress=seen.append)
    assert result.coco == coco_ap(*expected(), len(CLASSES))
    assert result.voc == voc_ap(*expected(), len(CLASSES))
    assert (result.num_images, seen, len(result.seconds)) == (COUNT, [3, 6, 9, 11], 4)
    assert detector.training
    assert 0.2 < result.score < 0.95
    assert result.score == result.coco.numbers["ap"]


def test_the_order_of_images_does_not_matter() -> None:
    forward = evaluate_detector(Reader(), batches(list(range(COUNT))), objects_of)
    backward = evaluate_detector(Reader(), batches(list(range(COUNT))[::-1], 5), objects_of)
    assert (forward.coco, forward.voc) == (backward.coco, backward.voc)


def test_the_summary_is_plain_json() -> None:
    result = evaluate_detector(Reader(), batches(list(range(COUNT))), objects_of)
    summary = json.loads(json.dumps(result.summary(CLASSES)))
    assert [row["label"] for row in summary["per_class"]] == list(CLASSES)
    assert summary["per_class"][2] == {
        "label": "bird",
        "num_objects": 0,
        "ap": None,
        "ap50": None,
        "voc_ap": None,
        "voc07_ap": None,
    }
    labels = np.concatenate([objects_of(i).labels for i in range(COUNT)])
    assert [row["num_objects"] for row in summary["per_class"]] == np.bincount(labels, minlength=3).tolist()
    assert summary["num_objects"] == len(labels)
    assert summary["ap"] == pytest.approx(np.mean([row["ap"] for row in summary["per_class"][:2]]))
    assert summary["voc12"] == pytest.approx(np.mean([row["voc_ap"] for row in summary["per_class"][:2]]))
    assert set(result.headline()) == {"ap", "ap50", "num_images"}
    assert min(summary["seconds_per_image"].values()) > 0


def test_no_images_and_unknown_labels_are_errors() -> None:
    with pytest.raises(ValueError, match="no images"):
        evaluate_detector(Reader(), [], objects_of)
    with pytest.raises(ValueError, match="label 2 of a detection is none of the 2 classes"):
        evaluate_detector(Reader(), batches([1]), objects_of, num_classes=2)


@dataclass(frozen=True)
class Meeting:
    """Where threads that stand for processes exchange rows."""

    barrier: threading.Barrier
    rows: dict[int, Tensor]


@dataclass(frozen=True)
class Threads(World):
    """A world whose processes are threads."""

    meeting: Meeting = None  # type: ignore[assignment]

    def gathered(self, rows: Tensor) -> Tensor:
        self.meeting.rows[self.rank] = rows
        self.meeting.barrier.wait(30)
        everything = torch.cat([self.meeting.rows[rank] for rank in range(self.size)])
        self.meeting.barrier.wait(30)
        return everything


def together(shares: list[list[int]]) -> list[DetectionResult]:
    meeting, results = Meeting(threading.Barrier(len(shares)), {}), {}

    def work(rank: int) -> None:
        world = Threads(rank, len(shares), meeting=meeting)
        results[rank] = evaluate_detector(Reader(), batches(shares[rank]), objects_of, world=world)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [results[rank] for rank in range(len(shares))]


@pytest.mark.parametrize(
    "shares",
    [
        [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10]],
        [[9, 3, 5], [], [0, 1, 2, 4, 6, 7, 8, 10]],  # one has nothing to do
        [[0, 1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9, 10, 4]],  # three images are brought twice
    ],
)
def test_processes_that_share_the_images_all_get_the_whole_result(shares: list[list[int]]) -> None:
    alone = evaluate_detector(Reader(), batches(list(range(COUNT))), objects_of)
    for result in together(shares):
        assert (result.coco, result.voc, result.num_images) == (alone.coco, alone.voc, COUNT)
