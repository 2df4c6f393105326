"""From a folder to a recipe: looks at a user's pictures and at this machine, and lets `data_defaults` choose."""

from __future__ import annotations

import threading
import urllib.request

from ..core.machine import free_memory, multiplies_bf16, usable_cores
from ..data.own import absolute, find_own, is_shards
from ..data.survey import survey
from .data_defaults import FINE_TUNED, WEIGHTS, DataDescription, Machine, Reason, recipe_for, wants_weights
from .recipe import Recipe

_PATIENCE = 4.0
"""Seconds in which the server of pretrained weights has to answer."""


def first_recipe(
    data: str, *, device: str = "auto", network: str | None = None, weights: str | None = None
) -> tuple[Recipe, tuple[Reason, ...]]:
    """The recipe for a user's own pictures, and the reasons of what was chosen.

    Args:
        data: a folder, a CSV, or shards.
        device: as in a recipe.
        network, weights: the user's, if they named some.

    Raises:
        ValueError: there are no such pictures, or they are laid out wrongly.
        OSError: they cannot be read.
    """
    description = describe_data(data)
    if weights is not None:
        start: tuple[str | None, str] = (weights, "you chose them")
    elif network is not None:
        start = (None, "you chose the network")
    elif wants_weights(description):
        start = reachable_weights()
    else:
        start = (None, "the pictures are tiny")
    return recipe_for(description, this_machine(device), start, network)


def describe_data(data: str) -> DataDescription:
    """What the choice depends on, of the pictures; raises as `first_recipe` does."""
    if is_shards(data):
        from .shard_feed import describe_shards

        return describe_shards(data)
    own = find_own(data)
    look = survey(own.training)
    return DataDescription(
        own.name, absolute(data), own.classes, len(own.training), not own.evaluation, look.short_side, look.grey
    )  # fmt: skip


def this_machine(device: str) -> Machine:
    """What the choice depends on, of the machine on which this runs; `device` as in a recipe."""
    import torch

    from .session import choose_device

    chosen = choose_device(device)
    if chosen.type == "cuda":
        return Machine("cuda", usable_cores(), torch.cuda.mem_get_info(chosen)[0], torch.cuda.is_bf16_supported(False))
    # mkldnn has a kernel of bfloat16 where the processor has instructions for it.
    bf16 = torch._C._has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return Machine(chosen.type, usable_cores(), free_memory(), bf16 and multiplies_bf16())


def reachable_weights() -> tuple[str | None, str]:
    """ImageNet's weights for fine-tuning, if they are on this machine or could be fetched now, else None; and why (not)."""
    from ..weights.catalogue import get_weights

    name = f"{FINE_TUNED}/{WEIGHTS}"
    had, why = reachable(get_weights(name).url, "ImageNet")
    return (name if had else None), why


def reachable(url: str, source: str) -> tuple[bool, str]:
    """Whether the file of weights at `url`, made on the data called `source`, is on this machine or could be fetched now; and why
    (not)."""
    from ..weights.download import WeightsUnavailable, cache_folders, fetched, offline_reason

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
