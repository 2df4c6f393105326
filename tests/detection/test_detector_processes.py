"""A detector that two processes train: what is the same as in one process, and what cannot be.

The boxes that enter the losses are drawn, by each process for its own images, so that two processes learn from other samples than one
does. A loss is a mean over the samples of a process's images; the processes' means are averaged, weighed by their images. That is the
mean over all samples wherever the processes have equally many, which is so where each image fills its quota.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scene_processes import check_images_and_weights, check_stopping_and_going_on, events, train_in_two
from torch import Tensor

from resnets.detection import proposals, regions
from resnets.detection.evaluate import evaluate_detector
from resnets.detection.model_kind import DETECTOR
from resnets.detection.recipe import DetectionRecipe
from resnets.detection.session import DetectionSession
from resnets.tasks import open_session
from resnets.training.distributed import World
from resnets.training.settings import Evaluating, Optimizer

GROUPED = (
    "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],norm=group,min_size=64,max_size=64,"
    "anchor_sizes=[[20]],rpn_width=16,rpn_pre_nms_train=100,rpn_post_nms_train=50,rpn_pre_nms_test=100,rpn_post_nms_test=30,"
    "rpn_batch=32,box_batch=16,roi_size=7,roi_pooling=align,rpn_ignore_outside=False,frozen_parts=[]"
)
RATE = 0.05


@pytest.fixture
def recipe(shape_scenes: Path) -> DetectionRecipe:
    """Two epochs of four steps; evaluation takes one image at a time, fewer than there are processes."""
    return DetectionRecipe(
        name="shapes", data=str(shape_scenes), detector=GROUPED, batch_size=6, epochs=2, log_every=1, report=False, workers=0,
        optimizer=Optimizer(learning_rate=RATE, momentum=0, weight_decay=0, nesterov=False), clip_norm=None,
        schedule={"kind": "constant"}, evaluation=Evaluating(every=0, batch_size=1),
    )  # fmt: skip


def opened(recipe: DetectionRecipe) -> DetectionSession:
    session: DetectionSession = open_session(recipe, lambda message: None)
    return session


def test_a_step_is_the_mean_of_what_each_process_computes(recipe: DetectionRecipe, tmp_path: Path) -> None:
    """Three images each, with samples drawn from the seed of step and rank: loss and weights by hand, in one process."""
    short = recipe.updated(max_steps=1, output=tmp_path / "two")
    first, second = train_in_two(short, tmp_path / "seen")
    session = opened(recipe)
    batch = next(iter(session.training.epoch(0)))
    losses = []
    for rank, rows in enumerate((slice(0, 3), slice(3, 6))):
        session.world = World(rank, 2)
        session.seed_step(1)
        losses.append(torch.stack(list(session.network(batch.images[rows], batch.targets[rows]).values())).sum())
    (torch.stack(losses).mean()).backward()
    (logged,) = events(tmp_path / "two", "step")
    assert logged["loss"] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert losses[0].item() != pytest.approx(losses[1].item(), rel=1e-2)
    for name, value in session.network.named_parameters():
        assert value.grad is not None, name
        torch.testing.assert_close(first["weights"][name], value.detach() - RATE * value.grad, rtol=1e-4, atol=1e-6)
    assert (first["indices"], second["indices"]) == ([batch.indices[:3].tolist()], [batch.indices[3:].tolist()])


def test_with_equal_draws_and_full_quotas_the_split_changes_nothing(
    recipe: DetectionRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of the halves' gradients is the whole batch's; with quotas that not every image fills it is not."""

    def first_ones(labels: Tensor, number: int, positive_share: float) -> tuple[Tensor, Tensor]:
        positive, negative = torch.where(labels > 0)[0], torch.where(labels == 0)[0]
        positive = positive[: int(number * positive_share)]
        return positive, negative[: number - len(positive)]

    for module in (proposals, regions):
        monkeypatch.setattr(module, "sample", first_ones)
    session = opened(recipe)
    network, batch = session.network, next(iter(session.training.epoch(0)))

    def gradient(*parts: slice) -> Tensor:
        network.zero_grad()
        losses = [torch.stack(list(network(batch.images[rows], batch.targets[rows]).values())).sum() for rows in parts]
        torch.stack(losses).mean().backward()
        return torch.cat([value.grad.flatten() for value in network.parameters() if value.grad is not None])

    def difference() -> float:
        whole, halves = gradient(slice(0, 6)), gradient(slice(0, 3), slice(3, 6))
        return float((whole - halves).norm() / whole.norm())

    assert difference() < 1e-5

    def as_many(labels: Tensor, number: int, positive_share: float) -> tuple[Tensor, Tensor]:
        positive, negative = torch.where(labels > 0)[0], torch.where(labels == 0)[0]
        return positive, negative[: len(positive)]

    for module in (proposals, regions):
        monkeypatch.setattr(module, "sample", as_many)
    assert difference() > 1e-3


def test_two_processes_share_images_and_end_alike(recipe: DetectionRecipe, tmp_path: Path) -> None:
    two = recipe.updated(output=tmp_path / "two", optimizer={"learning_rate": 0.02})
    first, second = train_in_two(two, tmp_path / "seen")
    kept = DETECTOR.load(tmp_path / "two" / "model.safetensors")
    check_images_and_weights(first, second, kept.state_dict())
    feed = opened(recipe).feed
    alone = evaluate_detector(kept, feed.evaluation.in_order(), feed.images.objects).summary(feed.classes)
    (done,) = events(tmp_path / "two", "done")
    assert alone["num_images"] == 8
    assert alone["num_objects"] == 14
    assert {key: done[key] for key in alone if key != "seconds_per_image"} == {
        key: value for key, value in alone.items() if key != "seconds_per_image"
    }


def test_the_processes_stop_together_and_go_on(recipe: DetectionRecipe, tmp_path: Path) -> None:
    check_stopping_and_going_on(recipe, tmp_path)
