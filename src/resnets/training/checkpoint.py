"""Checkpoints: everything that a run needs to go on as if it had never stopped, as plain tensors and values; and the one before.

Random states are not among them: every draw follows from the recipe's seed and the position (see `data.draws`).
A checkpoint loads with `torch.load(weights_only=True)`, so that opening one never runs code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..core.errors import UserError
from ..core.files import atomic
from ..core.reading import ZIP_ERRORS
from .session import OpenSession

FORMAT = "resnets checkpoint 3"


class Damaged(UserError):
    """A checkpoint that cannot be read."""


@dataclass
class Position:
    """How far a run has come."""

    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Training seconds spent, from the start of loading data."""
    best_score: float | None = None
    """Best evaluation so far."""
    improved_to: float | None = None
    """Best value of what early stopping watches that was an improvement."""
    stale: int = 0
    """Evaluations in a row since then that were none."""


def previous(path: Path) -> Path:
    """Where the checkpoint before the one at `path` is kept."""
    return path.with_stem(f"{path.stem}-previous")


def save_checkpoint(path: Path, session: OpenSession, position: Position) -> None:
    """Writes the session's state, whole or not at all; the one that was there is kept as the previous one.

    At no moment is there less than one whole checkpoint: the newest is first given its second name, then another takes the first.

    Raises:
        OSError: a full disk or a read-only folder; older checkpoints are left as they were.
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
    fresh = path.with_stem(f"{path.stem}-next")
    with atomic(fresh) as file:
        torch.save(content, file)
    if path.exists():
        _keep(path)
    os.replace(fresh, path)


def _keep(path: Path) -> None:
    """Gives the checkpoint its second name, in one step: a link to it takes the place of the one before."""
    link = path.with_name(f".{path.name}.{os.getpid()}.part")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without links: for a moment the newest has only its second name, under which it is found
        os.replace(path, previous(path))
    else:
        os.replace(link, previous(path))


def newest_words(path: Path) -> str:
    """Of which step the newest whole checkpoint is, in words."""
    for there in (path, previous(path)):
        try:
            content = torch.load(there, map_location="cpu", weights_only=True, mmap=True)
            return f"the newest checkpoint is that after step {content['position']['step']:,}"
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
            continue
    return "there is no checkpoint yet"


def load_newest(path: Path, session: OpenSession, report: Callable[[str], None]) -> Position:
    """Puts the newest whole checkpoint into the session: the one at `path`, else the previous one, which `report` is then told.

    Raises:
        ValueError: neither can be read, or it is of another network.
        FileNotFoundError: there is none.
    """
    try:
        return load_checkpoint(path, session)
    except (Damaged, FileNotFoundError) as error:
        if not previous(path).is_file():
            raise
        position = load_checkpoint(previous(path), session)
        report(f"{error}; going on from the previous one, {previous(path).name}, after step {position.step:,}")
        return position


def load_checkpoint(path: Path, session: OpenSession) -> Position:
    """Puts the state in `path` into the session and says how far the run had come.

    Raises:
        Damaged: the file is cut short, changed or not a resnets checkpoint.
        ValueError: it is of another network.
        OSError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums that torch.save wrote
            wrong = archive.testzip()
        if wrong is not None:
            raise UserError(f"the checksum of its part {wrong} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, *ZIP_ERRORS) as error:
        raise Damaged(
            f"{path} is damaged or is not a checkpoint: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise Damaged(f"{path} is not a checkpoint that this version of `resnets train` wrote")
    if content["spec"] != session.spec.model_dump_json():
        raise UserError(
            f"{path} holds another network than the recipe's {session.network_name!r}; resume with the recipe that it was trained with"
        )
    session.network.load_state_dict(content["network"])
    session.step.optimizer.load_state_dict(content["optimizer"])
    if session.average is not None:
        session.average.average.load_state_dict(content["average"])
        session.average.started = content["average_started"]
    if session.training.order.pruning is not None:
        session.training.order.pruning.load_state_dict(content["pruning"])
    return Position(**content["position"])


def fingerprint(session: OpenSession) -> str:
    """SHA-256 of everything that training changes: weights, statistics, the optimizer's state, the average and the pruning's losses."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(str((tuple(value.shape), value.dtype)).encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            for part in value:
                add(part)
        else:
            digest.update(repr(value).encode())

    pruning = session.training.order.pruning
    add(session.network.state_dict())
    add(session.step.optimizer.state_dict())
    add(session.average.average.state_dict() if session.average is not None else None)
    add(pruning.state_dict() if pruning is not None else None)
    return digest.hexdigest()
