"""Intersection over union: by hand, and against scikit-learn's Jaccard index on random masks."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from resnets.segmentation.iou import class_ious, confusion_of, mean_iou, pixel_accuracy


def test_by_hand() -> None:
    masks = torch.tensor([[0, 0, 1], [1, 2, 255]])
    predicted = torch.tensor([[0, 1, 1], [1, 0, 2]])
    confusion = confusion_of(predicted, masks, 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert class_ious(confusion) == [1 / 3, 2 / 3, 0, None]  # class 3 neither is nor was found: it is left out
    assert mean_iou(confusion) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert pixel_accuracy(confusion) == 3 / 5


def test_a_class_that_was_only_found_counts() -> None:
    confusion = confusion_of(torch.tensor([2, 0]), torch.tensor([0, 0]), 3)
    assert class_ious(confusion) == [0.5, None, 0]
    assert mean_iou(confusion) == 0.25


@pytest.mark.parametrize("classes", [2, 5, 11])
def test_equals_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    masks = random.integers(0, classes, (3, 40, 30))
    predicted = np.where(random.random(masks.shape) < 0.6, masks, random.integers(0, classes, masks.shape))
    ignored = random.random(masks.shape) < 0.1
    confusion = confusion_of(torch.from_numpy(predicted), torch.from_numpy(np.where(ignored, 255, masks)), classes)
    true, taken = masks[~ignored], predicted[~ignored]
    assert (confusion.numpy() == confusion_matrix(true, taken, labels=range(classes))).all()
    assert class_ious(confusion) == pytest.approx(jaccard_score(true, taken, average=None))
    assert mean_iou(confusion) == pytest.approx(jaccard_score(true, taken, average="macro"))
    assert pixel_accuracy(confusion) == pytest.approx(accuracy_score(true, taken))


def test_wrong_values_are_refused() -> None:
    right = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"a mask has the value 3, but the classes are 0 .* to 2"):
        confusion_of(right, torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match="a prediction has the value -1"):
        confusion_of(torch.tensor([0, -1]), right, 3)
    with pytest.raises(ValueError, match="shape"):
        confusion_of(right, right[:1], 3)


def test_nothing_to_measure_is_an_error() -> None:
    nothing = confusion_of(torch.tensor([0, 1]), torch.tensor([255, 255]), 3)
    for measure in (mean_iou, pixel_accuracy):
        with pytest.raises(ValueError, match="no pixel counts"):
            measure(nothing)
