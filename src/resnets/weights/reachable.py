"""Whether a file of pretrained weights can be had here: it is on this machine, or its server answers."""

from __future__ import annotations

import threading
import urllib.request

from .download import WeightsUnavailable, cache_folders, fetched, offline_reason

_PATIENCE = 4.0
"""Seconds in which the server of pretrained weights has to answer."""


def reachable(url: str, source: str) -> tuple[bool, str]:
    """Whether the file of weights at `url`, made on the data called `source`, is on this machine or could be fetched now; and why
    (not)."""
    kept = any((folder / url.rpartition("/")[2]).is_file() for folder in cache_folders())
    if not kept:
        if reason := offline_reason():
            return False, f"those of {source} are not on this machine, and {reason} forbids the network"
        if not _answers(url):
            return False, f"those of {source} are not on this machine, and their server does not answer"
    try:
        fetched(url)
    except (WeightsUnavailable, OSError) as error:
        return False, f"those of {source} cannot be had: {error}"
    return True, f"{source}'s weights are on this machine" if kept else f"{source}'s weights were fetched"


def _answers(url: str) -> bool:
    """Whether a server answers soon. In a thread, because looking up a name may take longer than any time limit allows."""
    found: list[int] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE) as answer:
                found.append(answer.status)
        except (OSError, ValueError):
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return found == [200]
