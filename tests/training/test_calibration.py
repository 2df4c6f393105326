"""Expected calibration error, by hand and against a loop."""

import numpy
import pytest
import torch

from resnets.reports.calibration import calibration


def test_by_hand() -> None:
    # Four bins. (0.5, 0.75]: 0.6 and 0.7, one right: |0.5 - 0.65|. (0.75, 1]: 0.8, 0.9, 1.0, all right: |1 - 0.9|.
    found = calibration(torch.tensor([0.6, 0.9, 0.8, 0.7, 1.0]), torch.tensor([True, True, True, False, True]), 4)
    assert found.error == pytest.approx((2 * 0.15 + 3 * 0.1) / 5)
    assert [part.num_images for part in found.bins] == [0, 0, 2, 3]
    assert [(part.low, part.high) for part in found.bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert (found.bins[0].accuracy, found.bins[0].confidence) == (None, None)
    assert (found.bins[2].accuracy, found.bins[2].confidence) == (0.5, pytest.approx(0.65))
    assert (found.num_images, found.accuracy, found.confidence) == (5, 0.8, pytest.approx(0.8))


def test_a_confidence_on_an_edge_is_of_the_bin_below() -> None:
    found = calibration(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), torch.ones(5, dtype=torch.bool), 4)
    assert [part.num_images for part in found.bins] == [2, 1, 1, 1]


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_against_a_loop(num_bins: int) -> None:
    generator = numpy.random.default_rng(3)
    confidences = generator.beta(5, 1, 4000).astype(numpy.float32)
    correct = generator.random(4000) < confidences**2  # an overconfident network
    error = 0.0
    for m in range(num_bins):
        inside = (confidences > m / num_bins) & (confidences <= (m + 1) / num_bins)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - confidences[inside].astype(float).mean())
    found = calibration(torch.from_numpy(confidences), torch.from_numpy(correct), num_bins)
    assert found.error == pytest.approx(error, abs=1e-9)
    assert found.num_images == 4000
    assert error > 0.05


def test_wrong_requests() -> None:
    with pytest.raises(ValueError, match="0 confidences and 0 answers"):
        calibration(torch.tensor([]), torch.tensor([], dtype=torch.bool))
    with pytest.raises(ValueError, match="2 confidences and 1 answers"):
        calibration(torch.tensor([0.5, 0.5]), torch.tensor([True]))
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match="must be a probability"):
            calibration(torch.tensor([0.5, bad]), torch.tensor([True, True]))
