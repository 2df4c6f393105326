"""A segmenter that two processes train: the same steps as in one, and the main process writes and reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scene_processes import check_images_and_weights, check_stopping_and_going_on, events, train_in_two

from resnets.data.annotated.mask_crop import MaskCrop
from resnets.segmentation.model_kind import SEGMENTER
from resnets.segmentation.recipe import SegmentationRecipe
from resnets.tasks import train
from resnets.training.settings import Optimizer

# Without batch statistics, which each process would take from its own images, and dropout, which each draws for itself.
GROUPED = (
    "fcn-cifar-resnet8:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],output_stride=4,head_width=16,norm=group,norm_groups=4,"
    "head_dropout=0,auxiliary=False"
)


@pytest.fixture
def recipe(shape_scenes: Path) -> SegmentationRecipe:
    """Two epochs of four steps, with random windows and mirror images."""
    return SegmentationRecipe(
        name="shapes", data=str(shape_scenes), segmenter=GROUPED, batch_size=6, epochs=2, log_every=1, report=False,
        crop=MaskCrop(size=64, base_size=None, scale=(0.75, 1.25)), optimizer=Optimizer(learning_rate=0.05), workers=0, precision="fp32",
    )  # fmt: skip


def test_two_processes_train_as_one_does(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone = train(recipe.updated(output=one))
    first, second = train_in_two(recipe.updated(output=two), tmp_path / "seen")
    losses = [[event["loss"] for event in events(folder, "step")] for folder in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=2e-4)
    assert losses[0][-1] < 0.9 * losses[0][0], "nothing was learned"
    weights = SEGMENTER.load(alone.model_path).state_dict()
    kept = SEGMENTER.load(two / "model.safetensors").state_dict()
    for name, value in kept.items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-4)
    check_images_and_weights(first, second, kept)
    (done,), (alone_done,) = events(two, "done"), events(one, "done")
    assert done["num_images"] == 8
    assert sum(map(sum, done["confusion"])) == sum(map(sum, alone_done["confusion"]))
    assert done["mean_iou"] == pytest.approx(alone_done["mean_iou"], abs=0.01)


def test_the_processes_stop_together_and_go_on(recipe: SegmentationRecipe, tmp_path: Path) -> None:
    check_stopping_and_going_on(recipe, tmp_path)
