"""A user's own data by what they type: a folder, a CSV, or shards. Importing this module loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError
from .folders import OwnImages, find_folder

SHARD_ENDINGS = (".tar", ".parquet")
HUB_PREFIX = "hf:"


def is_path(data: str) -> bool:
    """Whether `data` is meant as a path, or as a name on the hub, and not as the name of a known data set."""
    return data.startswith((HUB_PREFIX, ".", "~")) or os.sep in data or "/" in data or Path(data).exists()


def is_shards(data: str) -> bool:
    """Whether `data` names shards: a name on the hub, a file or pattern of .tar or .parquet, or a folder that holds such files."""
    if data.startswith(HUB_PREFIX) or data.lower().endswith(SHARD_ENDINGS):
        return True
    path = Path(data).expanduser()
    places = [path, *(path / name for name in ("train", "data"))] if path.is_dir() else []
    return any(
        entry.name.lower().endswith(SHARD_ENDINGS) and not entry.name.startswith(".")
        for place in places
        if place.is_dir()
        for entry in os.scandir(place)
    )


def find_own(data: str | Path) -> OwnImages:
    """The images in a folder or a CSV.

    Raises:
        DataError: there is nothing of the kind, or it is laid out wrongly.
        OSError: it cannot be read.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        from .imagenet import find_imagenet, has_flat_validation

        return find_imagenet(path) if has_flat_validation(path) else find_folder(path)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        from .csv_list import find_csv

        return find_csv(path)
    if path.is_file():
        raise DataError(f"{path} is no folder of images and no .csv; its columns are path,label[,split]")
    raise DataError(f"there is no folder or file {path}")


def absolute(data: str) -> str:
    """`data` such that it means the same in any working directory."""
    return data if data.startswith(HUB_PREFIX) else str(Path(os.path.abspath(Path(data).expanduser())))
