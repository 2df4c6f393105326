"""What several test modules share: one short real run, made once."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("RESNETS_OFFLINE", "1")  # no test may depend on a network

# The networks here are so small that two threads would mostly wait for each other. Processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from shape_scenes import make_scenes

from resnets.classification.recipe import Recipe
from resnets.classification.recipes import get_recipe
from resnets.tasks import train
from resnets.training.run import Run

torch.set_num_threads(1)

SMALL = {"network": "cifar-resnet8", "epochs": 2, "evaluation__batch_size": 360, "log_every": 5}
"""Overrides that make the digits recipe a matter of a second."""


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """The digits recipe, made small."""
    return get_recipe("digits", **SMALL)


@pytest.fixture(scope="session")
def small_run(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the small recipe. Tests read it and leave it as it is."""
    return train(small_recipe.updated(output=tmp_path_factory.mktemp("runs") / "small"))


@pytest.fixture(scope="session")
def shape_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and squares with boxes and masks, in COCO's layout. Tests read it and leave it as it is."""
    return make_scenes(tmp_path_factory.mktemp("scenes") / "shapes")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that fork processes which train come first: torch refuses that once something in this process ran a backward pass within another.
    Quantization comes last: after nncf's work for OpenVINO, a detector's run that is interrupted and goes on ends its process with a
    segmentation fault (nncf 3.4, openvino 2026.4); commands never do both in one process."""
    items.sort(
        key=lambda item: (
            item.path.name in ("test_quantize.py", "test_exports_killed.py"),
            "killed_at_several_moments" not in item.name,
        )
    )
