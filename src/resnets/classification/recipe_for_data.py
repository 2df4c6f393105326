"""From a folder to a recipe: looks at a user's images and at this machine, and lets `data_defaults` choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.machine import free_memory, usable_cores
from ..core.precision import native_bf16
from ..data.datasets.user_data import absolute, find_own, is_shards
from ..data.doctor.probe import probe
from ..training.choices import Reason
from .data_defaults import FINE_TUNED, WEIGHTS, DataDescription, Machine, recipe_for, wants_weights
from .recipe import Recipe


def recipe_for_data(data: str, given: Mapping[str, Any] | None = None) -> tuple[Recipe, tuple[Reason, ...]]:
    """The recipe for a user's own images, and the reasons of what was chosen.

    Args:
        data: a folder, a CSV, or shards.
        given: the user's own values by dotted name of the recipe's field; all that is chosen follows from them.

    Raises:
        ValueError: there are no such images, they are laid out wrongly, or the user's values do not fit.
        OSError: they cannot be read.
    """
    given = {} if given is None else given
    description = describe_data(data)
    if given.get("weights") is not None:
        start: tuple[str | None, str] = (given["weights"], "you chose them")
    elif "weights" in given or "network" in given:
        start = (None, "you chose the network" if "network" in given else "you chose none")
    elif wants_weights(description):
        start = reachable_weights()
    else:
        start = (None, "the images are tiny")
    return recipe_for(description, this_machine(given.get("device", "auto")), start, given)


def describe_data(data: str) -> DataDescription:
    """What the choice depends on, of the images.

    Raises:
        ValueError: there are no such images, or they are laid out wrongly.
        OSError: they cannot be read.
    """
    if is_shards(data):
        from .shard_feed import describe_shards

        return describe_shards(data)
    own = find_own(data)
    look = probe(own.training)
    return DataDescription(
        own.name, absolute(data), own.classes, len(own.training), not own.evaluation, look.short_side, look.grey
    )  # fmt: skip


def this_machine(device: str) -> Machine:
    """What the choice depends on, of the machine on which this runs; `device` as in a recipe."""
    import torch

    from ..training.session import choose_device

    chosen = choose_device(device)
    if chosen.type == "cuda":
        return Machine("cuda", usable_cores(), torch.cuda.mem_get_info(chosen)[0], native_bf16("cuda"))
    return Machine(chosen.type, usable_cores(), free_memory(), native_bf16(chosen.type))


def reachable_weights() -> tuple[str | None, str]:
    """ImageNet's weights for fine-tuning, if they are on this machine or could be fetched now, else None; and why (not)."""
    from ..weights.catalogue import get_weights
    from ..weights.reachable import reachable

    name = f"{FINE_TUNED}/{WEIGHTS}"
    had, why = reachable(get_weights(name).url, "ImageNet")
    return (name if had else None), why
