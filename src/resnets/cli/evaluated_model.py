"""The model that `resnets evaluate` measures: a network of ours as training evaluates it, or in another engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..deployment.engines.choice import choose_engine, fast_precision
from ..deployment.engines.engine import EngineModule
from ..deployment.engines.models import open_network
from ..deployment.engines.opening import engine_for, open_engine
from ..deployment.graph.description import Description
from ..deployment.graph.names import EngineName, is_exported
from ..training.published import recipe_behind
from .model_path import model_path


class EvaluatedModel:
    """A model file, run or exported file, and the engine asked for.

    Attributes:
        path: the file.
        device: where the images are wanted.
        trained_with: the recipe, as far as the file knows it.

    Raises:
        ValueError: no such model, or an exported file that knows neither classes nor preprocessing.
    """

    def __init__(
        self,
        model: Path,
        engine: Literal["auto"] | EngineName,
        precision: str | None,
        device: torch.device,
        report: Callable[[str], None],
    ) -> None:
        self.asked, self.precision, self.report = engine, precision, report
        self.exported = is_exported(model)
        self.path = model if self.exported else model_path(model)
        elsewhere = self.exported or engine not in ("auto", "torch", "torch-compile")
        self.device = torch.device("cpu") if elsewhere else device
        self.description: Description
        if self.exported:
            self.engine = open_engine(model, engine=engine, precision=precision, report=report)
            self.description = self.engine.description
        else:
            self.network, self.description = open_network(self.path, device=self.device)
        known = self.description
        if known.classes is None or known.preprocessing is None:
            raise UserError(f"{self.path} knows neither its classes nor its preprocessing; export it from a model file")
        self.classes: tuple[str, ...] = known.classes
        self.preprocessing: Preprocessing = known.preprocessing
        self.trained_with = recipe_behind(self.path, known.provenance.get("recipe", {}))

    def ready(self, trained: str, count: int) -> tuple[nn.Module, EngineName, str]:
        """The module to evaluate `count` images with, its engine and its precision; `trained` is that of training's evaluation."""
        if self.exported:
            return EngineModule(self.engine), self.engine.name, self.engine.precision
        wanted = self.precision or trained
        name: EngineName
        if self.asked != "auto":
            name = self.asked
            chosen = fast_precision(name, self.device) if wanted == "auto" else wanted
        elif self.precision is None and trained != "fp32":
            name, chosen = "torch", trained
            self.report(f"engine: torch, {trained} (as training evaluated it; --precision {trained} lets a faster engine do it)")
        else:
            choice = choose_engine(self.description.spec, self.device, wanted, count)
            name, chosen = choice.engine, choice.precision
            self.report(choice.sentence())
        if name == "torch":
            return self.network.to(memory_format=torch.channels_last), name, chosen
        return EngineModule(engine_for(self.network, name, precision=chosen, description=self.description)), name, chosen
