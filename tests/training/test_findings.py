"""What a network said about images, against the whole pass computed at once."""

import pytest
import torch
from torch import Tensor

import resnets
from resnets.classification.findings import FindingsCollector, collect_findings, explained_stage, pixels
from resnets.data.datasets.catalogue import load
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.inspection.grad_cam import grad_cam
from resnets.training.run import Run


@pytest.fixture(scope="module")
def digits(small_run: Run) -> tuple[resnets.networks.Network, Tensor, Tensor]:
    """The small run's network, the test digits and their classes."""
    arrays = load("digits", "test")
    return resnets.load_model(small_run.model_path), arrays.images, arrays.labels


@pytest.mark.parametrize(("size", "flips"), [(37, False), (360, True)])
def test_findings_of_a_pass_in_batches(digits: tuple[resnets.networks.Network, Tensor, Tensor], size: int, flips: bool) -> None:
    network, images, labels = digits
    inputs = network.preprocessing(images)
    names = [f"{i}.png" for i in range(len(images))]
    batches = zip(inputs.split(size), labels.split(size), strict=True)
    found = collect_findings(network.train(), batches, network.preprocessing, names=names, flips=flips)
    assert network.training
    with torch.no_grad():
        logits = network.eval()(inputs)
        if flips:
            logits = (logits + network(inputs.flip(-1))) / 2
    shares = logits.softmax(1)
    sure, taken = shares.max(1)
    torch.testing.assert_close(found.confidences, sure)
    assert torch.equal(found.correct, taken == labels)

    wrong = sorted((taken != labels).nonzero()[:, 0].tolist(), key=lambda i: -float(sure[i]))
    assert len(wrong) > 5
    assert [mistake.index for mistake in found.mistakes] == wrong[:24]
    for mistake in found.mistakes:
        i = mistake.index
        assert (mistake.name, mistake.label, mistake.predicted_as) == (f"{i}.png", int(labels[i]), int(taken[i]))
        assert mistake.probability == pytest.approx(float(sure[i]), abs=1e-5)
        assert mistake.label_probability == pytest.approx(float(shares[i, labels[i]]), abs=1e-5)
        assert torch.equal(mistake.pixels, images[i])  # the image itself, not the network's input

    right, errors = found.explanations[:6], found.explanations[6:]
    chosen = [explained.image.label for explained in right]
    assert chosen == sorted(set(chosen))
    for explained in right:
        first = int(((labels == explained.image.label) & (taken == labels)).nonzero()[0, 0])
        assert explained.image.index == first
        assert explained.label is None
    assert [explained.image.index for explained in errors] == wrong[:4]
    assert (found.stage, found.map_size) == ("conv3_x", (4, 4))
    for explained in errors:
        i = explained.image.index
        expected = grad_cam(network, inputs[i : i + 1], stage="conv3_x", target=int(taken[i]))[0]
        torch.testing.assert_close(explained.predicted_as, expected, atol=1e-4, rtol=1e-3)
        assert explained.label is not None
        own = grad_cam(network, inputs[i : i + 1], stage="conv3_x", target=int(labels[i]))[0]
        torch.testing.assert_close(explained.label, own, atol=1e-4, rtol=1e-3)


def test_images_come_back_from_the_networks_input() -> None:
    images = torch.arange(2 * 3 * 8 * 8).remainder(256).to(torch.uint8).view(2, 3, 8, 8)
    for preprocessing in (
        Preprocessing(size=8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Preprocessing(size=8),
    ):
        assert torch.equal(pixels(preprocessing(images)[1], preprocessing), images[1])


def test_the_explained_stage_is_the_last_that_says_where() -> None:
    network = resnets.create_model("resnet18", num_classes=2).train()
    assert explained_stage(network, torch.zeros(1, 3, 128, 128)) == ("conv5_x", (4, 4))
    assert explained_stage(network, torch.zeros(1, 3, 96, 96)) == ("conv4_x", (6, 6))
    assert explained_stage(network, torch.zeros(1, 3, 4, 4)) == ("conv1", (2, 2))
    assert explained_stage(network, torch.zeros(1, 3, 96, 96), "conv5_x") == ("conv5_x", (3, 3))
    assert network.training
    with pytest.raises(ValueError, match="no stage 'layer4'; this network has conv1, conv2_x"):
        explained_stage(network, torch.zeros(1, 3, 96, 96), "layer4")


def test_classes_far_apart_are_chosen_whatever_their_order() -> None:
    preprocessing = Preprocessing(size=4, channels=1)
    network = resnets.create_model("cifar-resnet8", in_channels=1, num_classes=100)
    chosen = []
    for labels in (torch.arange(100), torch.arange(99, -1, -1)):
        collector = FindingsCollector(preprocessing)
        for part in labels.split(7):
            collector.add(torch.zeros(len(part), 1, 4, 4), part, torch.nn.functional.one_hot(part, 100) * 9.0)
        found = collector.findings(network)
        assert not found.mistakes
        chosen.append([explained.image.label for explained in found.explanations])
    assert chosen[0] == chosen[1]
    assert max(chosen[0]) - min(chosen[0]) > 50


def test_nothing_seen() -> None:
    with pytest.raises(ValueError, match="no images"):
        FindingsCollector(Preprocessing(size=4)).findings(resnets.create_model("cifar-resnet8"))
