"""Evaluation: one confusion matrix, everything else derived from it."""

import pytest
import torch
from torch import Tensor, nn

from resnets.classification.evaluate import evaluate

CLASSES = ("a", "b", "c", "d", "e", "f", "g")


class Fixed(nn.Module):
    """Gives each image's first pixels as logits, so that the answer is known."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :7]


def make_images(logits: Tensor) -> Tensor:
    images = torch.zeros(len(logits), 1, 1, 9)
    images[:, 0, 0, :7] = logits
    return images


def test_by_hand() -> None:
    logits = torch.eye(7)[[0, 0, 1, 2, 6]] * 3
    labels = torch.tensor([0, 1, 1, 2, 2])
    result = evaluate(Fixed(), [(make_images(logits[:3]), labels[:3]), (make_images(logits[3:]), labels[3:])])
    assert (result.top1, result.num_images) == (3 / 5, 5)
    assert result.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-6)
    assert result.confusion[1].tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert result.confusion[2].tolist() == [0, 0, 1, 0, 0, 0, 1]
    rows = result.per_class(CLASSES)
    assert [row["accuracy"] for row in rows] == [1, 0.5, 0.5, None, None, None, None]
    assert [row["precision"] for row in rows] == [0.5, 1, 1, None, None, None, 0]
    assert [row["num_images"] for row in rows] == [1, 2, 2, 0, 0, 0, 0]


def test_top5_by_hand() -> None:
    logits = torch.arange(7.0).repeat(7, 1)  # the five largest are classes 2 to 6
    result = evaluate(Fixed(), [(make_images(logits), torch.arange(7))])
    assert result.top5 == 5 / 7


def test_flips_average_the_logits() -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 1, 1, 9)
    labels = torch.arange(6)
    expected = (images[:, 0, 0, :7] + images.flip(-1)[:, 0, 0, :7]) / 2
    result = evaluate(Fixed(), [(images, labels)], flips=True)
    assert result.loss == pytest.approx(float(nn.functional.cross_entropy(expected, labels)), rel=1e-6)


def test_the_network_stays_in_its_mode() -> None:
    network = nn.Sequential(Fixed())
    for mode in (True, False):
        network.train(mode)
        evaluate(network, [(make_images(torch.eye(7)), torch.arange(7))])
        assert network.training is mode


def test_a_label_without_a_class_and_no_images() -> None:
    with pytest.raises(ValueError, match="label 7"):
        evaluate(Fixed(), [(make_images(torch.eye(7)), torch.arange(1, 8))])
    with pytest.raises(ValueError, match="no images"):
        evaluate(Fixed(), [])
