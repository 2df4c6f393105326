"""Files of weights from the network: fetched once, checked by the hash in their name, kept where torch.hub keeps its own.

Such a name is `resnet50-11ad3fa6.pth`: the digits are the first of the file's SHA-256.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ..core.errors import JobError
from ..core.files import atomic

TIMEOUT = 20.0
"""Seconds without an answer after which a connection is given up."""
_BLOCK = 1 << 20
_HASH = re.compile(r"-([0-9a-f]{8,64})\.")


class _Interrupted(Exception):
    """The answer broke off. It is no OSError, which `atomic` would take for a failure of the disk."""


class WeightsUnavailable(JobError):
    """Weights could not be fetched, or what came is not what it should be; the message says which file goes where."""


def offline_reason() -> str | None:
    """What forbids the network, in words, or None. RESNETS_OFFLINE forbids it unless it is empty, 0, false, no or off."""
    value = os.environ.get("RESNETS_OFFLINE", "")
    return f"RESNETS_OFFLINE={value}" if value.strip().lower() not in ("", "0", "false", "no", "off") else None


def cache_folders() -> list[Path]:
    """Where fetched weights are looked for; the first is where they are kept: $RESNETS_CACHE, then torch.hub's checkpoints."""
    import torch

    hub = Path(torch.hub.get_dir()) / "checkpoints"
    chosen = os.environ.get("RESNETS_CACHE")
    return [Path(chosen).expanduser().absolute(), hub] if chosen else [hub]


def expected_hash(name: str) -> str:
    """The digits of the SHA-256 in a file's name, "" where it has none."""
    match = _HASH.search(name)
    return match[1] if match else ""


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetched(url: str) -> Path:
    """The file at `url`: from the cache, or fetched into it, its hash checked either way. Progress goes to standard error.

    Raises:
        WeightsUnavailable: the network is forbidden or does not answer, or the file that came is another one.
        OSError: the cache cannot be written.
    """
    name = Path(urlsplit(url).path).name
    digits = expected_hash(name)
    damaged = ""
    for folder in cache_folders():
        path = folder / name
        if path.is_file():
            found = sha256(path)
            if found.startswith(digits):
                return path
            damaged = f"; the one at {path} is damaged (its SHA-256 begins with {found[:8]})"
    target = cache_folders()[0] / name
    by_hand = f"fetch {url} on a machine that can, and put it at {target}"
    if reason := offline_reason():
        raise WeightsUnavailable(
            f"the weights {name} are not on this machine{damaged}, and {reason} forbids the network; {by_hand}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, atomic(target) as file:
            found = _copied(answer, file, name, int(answer.headers.get("Content-Length") or 0))
            if not found.startswith(digits):
                raise WeightsUnavailable(
                    f"what came from {url} is not the file it should be: its SHA-256 begins with {found[:8]}, its name says {digits}. "
                    f"It was not kept; try again, or {by_hand}"
                )
    except (_Interrupted, urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise WeightsUnavailable(f"{url} could not be fetched ({why}){damaged}; {by_hand}") from error
    return target


def _copied(answer: Any, file: BinaryIO, name: str, size: int) -> str:
    """Copies an answer into a file with a progress bar (a line where standard error is no terminal); its SHA-256."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from ..core.console import PlainConsole

    console = PlainConsole(stderr=True)
    if not sys.stderr.isatty():
        console.print(f"fetching {name}" + (f" ({size / 1e6:.1f} MB)" if size else ""), soft_wrap=True)
    digest = hashlib.sha256()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(f"fetching {name}", total=size or None)
        while block := _block(answer):
            file.write(block)
            digest.update(block)
            progress.advance(task, len(block))
    return digest.hexdigest()


def _block(answer: Any) -> bytes:
    try:
        block: bytes = answer.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke off: {error}") from error
    return block
