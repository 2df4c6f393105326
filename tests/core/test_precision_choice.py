"""What "auto" means, on processors with and without bf16 instructions, and that a run stores it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnets.classification.recipe import Recipe
from resnets.classification.recipes import RECIPES
from resnets.core import precision
from resnets.detection.recipes import RECIPES as DETECTION
from resnets.segmentation.recipes import RECIPES as SEGMENTATION
from resnets.tasks import train
from resnets.training.session import with_precision


@pytest.mark.parametrize("recipe", [*RECIPES.values(), *DETECTION.values(), *SEGMENTATION.values()], ids=lambda recipe: recipe.name)
def test_no_recipe_asks_for_bf16_on_a_processor_without_it(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bf16", lambda: False)
    assert with_precision(recipe, "cpu")[0].precision == "fp32"


def test_the_tutorials_job_takes_what_the_processor_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    tutorial = RECIPES["fashion-mnist-tutorial"]
    monkeypatch.setattr(precision, "native_bf16", lambda device: True)
    resolved, notes = with_precision(tutorial, "cpu")
    assert (resolved.precision, notes) == ("bf16", ("precision: bf16 (this processor multiplies it itself)",))
    monkeypatch.setattr(precision, "native_bf16", lambda device: False)
    resolved, notes = with_precision(tutorial, "cpu")
    assert (resolved.precision, notes) == ("fp32", ("precision: fp32 (this processor has no bf16 instructions)",))


def test_emulated_bf16_is_honoured_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "native_bf16", lambda device: False)
    resolved, notes = with_precision(Recipe(precision="bf16"), "cpu")
    assert resolved.precision == "bf16"
    assert len(notes) == 1
    assert "emulates it" in notes[0]


@pytest.mark.parametrize("native", [True, False])
def test_a_run_stores_what_auto_became(small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(precision, "native_bf16", lambda device: native)
    run = train(small_recipe.updated(output=tmp_path / "run", max_steps=1, epochs=1, evaluation__precision="auto", report=False))
    stored = (run.directory / "recipe.yaml").read_text()
    assert stored.count("precision: bf16" if native else "precision: fp32") == 2
    assert "precision: auto" not in stored
