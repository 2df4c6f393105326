"""Where a model is that a user names by its run or its file."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UserError


def model_path(path: Path) -> Path:
    """The model file of a run directory, or the file itself.

    Raises:
        ValueError: neither is there.
    """
    if path.is_dir():
        inside = path / "model.safetensors"
        if not inside.is_file():
            raise UserError(f"the folder {path} holds no model.safetensors; is its run finished? resnets train --resume {path}")
        return inside
    if not path.exists():
        raise UserError(f"there is no run directory or model file {path}")
    return path
