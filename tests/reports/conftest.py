"""A page of a real run with everything on it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import resnets
from resnets.classification.findings import collect_findings
from resnets.classification.recipe import Recipe
from resnets.data.datasets.catalogue import load
from resnets.reports.findings import Findings
from resnets.reports.run_report import write_report
from resnets.training.run import Run, RunDirectory

EXCLUDED = [("folder/empty.png", "the file is empty"), ("<script>alert(1)</script>.png", "not an image, whatever its name says")]


@pytest.fixture(scope="session")
def findings(small_run: Run) -> Findings:
    """What the small run's network said about the test digits."""
    network, digits = resnets.load_model(small_run.model_path), load("digits", "test")
    batches = zip(network.preprocessing(digits.images).split(100), digits.labels.split(100), strict=True)
    return collect_findings(network, batches, network.preprocessing)


@pytest.fixture(scope="session")
def page(small_run: Run, small_recipe: Recipe, findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small run, with two images left out."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    events = RunDirectory(small_run.directory).events()
    write_report(path, small_recipe, events, small_run.classes, {"torch": "2.11", "gpu": None}, findings, excluded=EXCLUDED)
    return path
