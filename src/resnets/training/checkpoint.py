"""Checkpoints: everything that a run needs to go on as if it had never stopped, as plain tensors and values.

Random states are not among them: every draw follows from the recipe's seed and the position (see `data.draws`). A checkpoint loads with `torch.load(weights_only=True)`, so that opening one never runs code.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..files import atomic
from .session import Session

FORMAT = "resnets checkpoint 2"


@dataclass
class Position:
    """How far a run has come."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Training seconds spent, from the start of loading data."""
    best_top1: float | None = None
    """Best evaluation so far."""


def save_checkpoint(path: Path, session: Session, position: Position) -> None:
    """Writes the session's state, whole or not at all.

    Raises:
        OSError: a full disk or a read-only folder; an older checkpoint is left as it was.
    """
    average = session.average
    content: dict[str, Any] = {
        "format": FORMAT,
        "spec": session.spec.model_dump_json(),
        "network": session.network.state_dict(),
        "optimizer": session.step.optimizer.state_dict(),
        "average": average.average.state_dict() if average is not None else None,
        "average_started": average.started if average is not None else False,
        "pruning": session.training.order.pruning.state_dict() if session.training.order.pruning is not None else None,
        "position": vars(position),
    }
    with atomic(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path, session: Session) -> Position:
    """Puts the state in `path` into the session and says how far the run had come.

    Raises:
        ValueError: the file is damaged, none of ours, or of another network.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}; a run without one starts anew with --recipe {path.parent / 'recipe.yaml'}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is damaged or is not a checkpoint: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not a checkpoint that `resnets train` wrote")
    if content["spec"] != session.spec.model_dump_json():
        raise ValueError(
            f"{path} holds another network than the recipe's {session.recipe.network!r}; resume with the recipe that it was trained with"
        )
    session.network.load_state_dict(content["network"])
    session.step.optimizer.load_state_dict(content["optimizer"])
    if session.average is not None:
        session.average.average.load_state_dict(content["average"])
        session.average.started = content["average_started"]
    if session.training.order.pruning is not None:
        session.training.order.pruning.load_state_dict(content["pruning"])
    return Position(**content["position"])
