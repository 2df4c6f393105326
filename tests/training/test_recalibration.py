"""Recalibrated statistics are the population's, computed by hand with numpy."""

from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import resnets
from resnets.classification.recipe import Recipe
from resnets.tasks import open_session, train
from resnets.training.engine.recalibration import recalibrate


class Tiny(nn.Module):
    """Two norms, a convolution and dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv, self.dropout, self.second = nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1), nn.Dropout(0.5), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(self.dropout(self.conv(self.first(x))))
        return y


def test_statistics_are_those_of_the_population() -> None:
    torch.manual_seed(0)
    network = Tiny().train()
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([2.0, 0.5]))
        network.first.bias.copy_(torch.tensor([1.0, -1.0]))
    batches = [torch.randn(n, 2, 4, 5) * (i + 1) + 3 * i for i, n in enumerate((6, 6, 3))]
    recalibrate(network, batches)

    def by_channel(x: numpy.ndarray) -> numpy.ndarray:
        return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)

    raw = [batch.numpy().astype(numpy.float64) for batch in batches]
    everything = by_channel(numpy.concatenate(raw))
    assert network.first.running_mean is not None
    assert network.first.running_var is not None
    numpy.testing.assert_allclose(network.first.running_mean.numpy(), everything.mean(1), rtol=1e-5)
    numpy.testing.assert_allclose(network.first.running_var.numpy(), everything.var(1), rtol=1e-5)
    # The second norm sees each batch normalised by its own statistics.
    weight, bias = (p.detach().numpy().astype(numpy.float64) for p in network.conv.parameters())
    weight = weight[:, :, 0, 0]
    seen = []
    for batch in raw:
        rows = by_channel(batch)
        normalised = (rows - rows.mean(1, keepdims=True)) / numpy.sqrt(rows.var(1, keepdims=True) + 1e-5)
        seen.append(weight @ (normalised * numpy.array([[2.0], [0.5]]) + numpy.array([[1.0], [-1.0]])) + bias[:, None])
    second = numpy.concatenate(seen, axis=1)
    assert network.second.running_mean is not None
    assert network.second.running_var is not None
    numpy.testing.assert_allclose(network.second.running_mean.numpy(), second.mean(1), rtol=1e-4, atol=1e-5)
    numpy.testing.assert_allclose(network.second.running_var.numpy(), second.var(1), rtol=1e-4)
    assert network.training
    assert network.dropout.training
    assert (network.first.momentum, int(network.first.num_batches_tracked or 0)) == (0.1, 0)


def test_it_stops_after_enough_images_and_adds_up_processes() -> None:
    network = Tiny().eval()
    batches = iter([torch.full((4, 2, 2, 2), float(i)) for i in range(5)])
    recalibrate(network, batches, images=8, sum_over_processes=lambda total: total + total)
    assert len(list(batches)) == 3
    assert network.first.running_mean is not None
    torch.testing.assert_close(network.first.running_mean, torch.full((2,), 0.5))
    assert network.first.running_var is not None
    torch.testing.assert_close(network.first.running_var, torch.full((2,), 0.25))
    assert not network.training


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_run_ends_with_statistics_of_its_final_weights(small_recipe: Recipe, tmp_path: Path, decay: float) -> None:
    recipe = small_recipe.updated(max_steps=6, evaluation__every=0, report=False, averaging={"decay": decay})
    runs = {bn: train(recipe.updated(bn=bn, output=tmp_path / bn)) for bn in ("train", "recalibrate")}
    plain, anew = (resnets.load_model(runs[bn].model_path) for bn in ("train", "recalibrate"))
    for (name, a), (_, b) in zip(plain.named_parameters(), anew.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    session = open_session(recipe, lambda _: None)
    images = torch.cat([batch.images for batch in session.training.epoch(0)])
    with torch.no_grad():
        responses = nn.functional.conv2d(images, anew.get_parameter("conv1.conv.weight"), padding=1)
    torch.testing.assert_close(anew.get_buffer("conv1.norm.running_mean"), responses.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        anew.get_buffer("conv1.norm.running_var"), responses.var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(plain.get_buffer("conv1.norm.running_var"), anew.get_buffer("conv1.norm.running_var"), rtol=1e-2)


def test_frozen_parts_keep_theirs(small_recipe: Recipe, tmp_path: Path) -> None:
    base = small_recipe.updated(max_steps=3, evaluation__every=0, report=False)
    start = train(base.updated(output=tmp_path / "start")).model_path
    recipe = base.updated(weights=str(start), bn="recalibrate", fine_tuning={"freeze": "conv2_x"}, output=tmp_path / "run")
    before, after = resnets.load_model(start).state_dict(), resnets.load_model(train(recipe).model_path).state_dict()
    kept = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith(("conv1", "conv2_x"))}
