"""Our setting beside the paper's, and every difference between the two as a sentence; derived from data, never written by hand."""

from __future__ import annotations

from typing import Any

from ..classification.recipe import Recipe
from ..data.datasets.catalogue import DATASETS
from ..networks.spec import NetworkSpec
from ..networks.zoo import get_spec
from .budget import Plan
from .experiment import Setting, Study

_OF_THE_DATA = {"in_channels", "num_classes", "input_size"}
"""Fields of a spec that follow from the data set, which has a sentence of its own."""


def setting_of(recipe: Recipe, seeds: int) -> Setting:
    """What `recipe` trains with, in the words in which the papers' settings are kept."""
    info = DATASETS.get(recipe.data)
    optimizer, changes = recipe.optimizer, recipe.augmentation
    name = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "muon": "Muon"}.get(optimizer.name, optimizer.name)
    if optimizer.name in ("sgd", "muon"):
        name += f" with {'Nesterov ' if optimizer.nesterov and optimizer.momentum else ''}momentum {optimizer.momentum:g}"
    flip = changes.horizontal_flip or ("off" if info is not None and not info.horizontal_flip else "random")
    return Setting(
        data=recipe.data if info is None else info.title.partition(":")[0],
        training_pictures=None if info is None else round(info.num_train * (1 - recipe.holdout)),
        resolution=recipe.image_size or (None if info is None else info.size),
        crops=changes.crop_padding,
        mirroring="none" if flip == "off" else flip,
        optimizer=name,
        learning_rate=optimizer.learning_rate,
        schedule=describe_schedule(recipe),
        warmup=_warmup(recipe),
        weight_decay=optimizer.weight_decay,
        batch=recipe.batch_size,
        steps=recipe.max_steps,
        seeds=seeds,
    )


def describe_schedule(recipe: Recipe) -> str:
    """The schedule in words."""
    schedule = recipe.schedule
    if schedule.kind == "step":
        return f"times {schedule.gamma:g} at {' and '.join(f'{at:g}' for at in schedule.milestones)} of the run"
    return schedule.kind


def _warmup(recipe: Recipe) -> str:
    schedule, steps = recipe.schedule, recipe.max_steps
    if not schedule.warmup:
        return "none"
    start = f"{schedule.warmup_factor * recipe.optimizer.learning_rate:g}"
    for_how_long = f"{schedule.warmup:g} of the run" if steps is None else f"the first {round(schedule.warmup * steps):,} steps"
    return f"{start} for {for_how_long}" if schedule.warmup_shape == "constant" else f"from {start} for {for_how_long}"


def differences(study: Study, plan: Plan) -> list[str]:
    """Sentences, one a difference between the paper's experiment and the one of `plan`."""
    sentences = [*_of_the_arms(study, plan)]
    if plan.recipes:
        ours = setting_of(plan.recipes[0][1], len(plan.seeds))
        sentences += _of_the_settings(study.paper, ours, {recipe.max_steps or 0 for _, recipe in plan.recipes})
    return sentences


def _of_the_settings(paper: Setting, ours: Setting, steps: set[int]) -> list[str]:
    sentences = []
    for field, info in Setting.model_fields.items():
        theirs, here = getattr(paper, field), getattr(ours, field)
        if field == "steps" and len(steps) > 1:
            here = f"{min(steps):,} to {max(steps):,}"
        if theirs is not None and here is not None and theirs != here:
            label = info.description or field
            sentences.append(f"{label[0].upper()}{label[1:]}: {_text(theirs)} in the paper, {_text(here)} here.")
    return sentences


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_the_arms(study: Study, plan: Plan) -> list[str]:
    """Arms left out or added, and how the networks differ from the paper's, arms that differ alike in one sentence."""
    networks = dict(plan.networks)
    sentences = []
    skipped = [arm.name for arm in study.arms if arm.paper_network is not None and arm.name not in networks]
    if skipped:
        sentences.append(f"Left out: {', '.join(skipped)}.")
    added = [arm.name for arm in study.arms if arm.paper_network is None and arm.name in networks]
    if added:
        sentences.append(f"Not in the paper: {', '.join(added)}.")
    found: dict[str, list[str]] = {}
    for arm in study.arms:
        if arm.name in networks and arm.paper_network is not None and arm.paper_network != networks[arm.name]:
            for change in _changes(arm.paper_network, networks[arm.name]):
                found.setdefault(change, []).append(arm.name)
    compared = sum(arm.paper_network is not None and arm.name in networks for arm in study.arms)
    for change, arms in found.items():
        whose = "all networks" if len(arms) == compared else ", ".join(arms)
        sentences.append(f"{change} ({whose}).")
    return sentences


def _changes(paper: str, here: str) -> list[str]:
    """How two networks' specs differ, field by field."""
    if "/" in paper or "/" in here:
        return [f"Network: {paper} in the paper, {here} here"]
    theirs, ours = get_spec(paper), get_spec(here)
    changes = []
    for field in NetworkSpec.model_fields:
        a, b = (spec.stem_reduction if field == "stem_stride" else getattr(spec, field) for spec in (theirs, ours))
        if a != b and field not in _OF_THE_DATA:
            if field == "blocks":
                a, b = (" + ".join(str(number) for number in spec.blocks) for spec in (theirs, ours))
            label = "stride of the stem" if field == "stem_stride" else field.replace("_", " ")
            changes.append(f"{label[0].upper()}{label[1:]}: {_value(a)} in the paper, {_value(b)} here")
    return changes


def _value(value: Any) -> str:
    if value is None:
        return "as is usual for it"
    return ", ".join(map(_value, value)) if isinstance(value, tuple) else _text(value)
