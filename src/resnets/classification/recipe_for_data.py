"""From a folder to a recipe: looks at a user's pictures and at this machine, and lets `data_defaults` choose."""

from __future__ import annotations

from ..core.machine import free_memory, usable_cores
from ..core.precision import native_bf16
from ..data.datasets.user_data import absolute, find_own, is_shards
from ..data.doctor.probe import survey
from .data_defaults import FINE_TUNED, WEIGHTS, DataDescription, Machine, Reason, recipe_for, wants_weights
from .recipe import Recipe


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
