"""The one renaming of state dicts: a layout says as data where each tensor of ours is in a package's file and how it is arranged there;
classifiers, detectors and segmenters share what is here, in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.errors import UserError
from .table import Row, Transform, renaming

_COUNTER = "num_batches_tracked"
_LISTED = 12
_FOLDED = {"running_mean": torch.zeros, "running_var": torch.ones}


@dataclass(frozen=True)
class Place:
    """Where a tensor of ours is in a layout's state dict."""

    name: str
    shape: torch.Size
    """Its shape there."""
    transform: Transform | None = None
    former: str = ""
    """Its name in older files, where it had another."""
    default: Tensor | None = None
    """What stands for it (in our arrangement) where a file lacks it; None: it has to be there."""
    written: bool = True
    """Whether the package's files have it."""


@dataclass(frozen=True)
class Renaming:
    """A layout of one spec's module."""

    layout: str
    kind: str
    """What the module is called in messages: network, detector, segmenter."""
    places: Mapping[str, Place]
    """By our names, in our state dict's order."""
    without_settings: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    """Takes from a state dict of theirs what a configuration says too, after comparing it with the spec."""


def own_names(shapes: Mapping[str, torch.Size], kind: str) -> Renaming:
    """Our own layout of a module whose state dict has these shapes."""
    places = {name: Place(name, shape, default=_default(name, shape)) for name, shape in shapes.items()}
    return Renaming("resnets", kind, places)


def foreign_names(
    layout: str,
    kind: str,
    shapes: Mapping[str, torch.Size],
    rows: Mapping[str, str | Row],
    *,
    uncounted: str | None = None,
    folded: bool = False,
    without_settings: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> Renaming:
    """A package's layout of a module whose state dict has these shapes.

    Args:
        rows: module path of ours -> theirs, for every module with tensors; the first that matches counts.
        uncounted: batch norms below this prefix of ours have no `num_batches_tracked` in the package's files, since they are frozen there.
        folded: norms may lack their statistics, which are then mean 0 and variance 1.
    """
    rename = renaming(rows)
    places = {}
    for ours, shape in shapes.items():
        path, _, leaf = ours.rpartition(".")
        row = rename(path)
        assert row is not None, f"{layout} admits a spec with {path} and has no name for it"
        transform = row.transforms.get(leaf)
        theirs = transform.to_theirs(torch.empty(shape, device="meta")).shape if transform else shape
        former = f"{row.former}.{leaf}" if row.former else ""
        written = uncounted is None or not (leaf == _COUNTER and ours.startswith(uncounted))
        places[ours] = Place(f"{row.theirs}.{leaf}", theirs, transform, former, _default(ours, shape, folded), written)
    assert len({place.name for place in places.values()}) == len(places), f"{layout} gives two tensors one name"
    return Renaming(layout, kind, places, without_settings)


def renamed(state: Mapping[str, Tensor], source: Renaming, target: Renaming) -> dict[str, Tensor]:
    """The state dict under the target's names. Tensors that are arranged alike are the same storage, not copies.

    Raises:
        ValueError: keys that are missing or left over; tensors of another shape; settings that are not the spec's.
    """
    given = dict(source.without_settings(state))
    for place in source.places.values():
        if place.former in given and place.name not in given:
            given[place.name] = given.pop(place.former)
    _check(given, source)
    result = {}
    for ours, place in target.places.items():
        if not place.written:
            continue
        origin = source.places[ours]
        value = given.get(origin.name)
        if value is None:
            assert origin.default is not None
            value = origin.default.clone()
        elif origin.transform is not None:
            value = origin.transform.to_ours(value)
        result[place.name] = value if place.transform is None else place.transform.to_theirs(value)
    return result


def _default(ours: str, shape: torch.Size, folded: bool = False) -> Tensor | None:
    leaf = ours.rpartition(".")[2]
    if leaf == _COUNTER:
        return torch.tensor(0)
    return _FOLDED[leaf](shape) if folded and leaf in _FOLDED else None


def _check(given: Mapping[str, Tensor], source: Renaming) -> None:
    wanted = {place.name for place in source.places.values()}
    missing = [place.name for place in source.places.values() if place.name not in given and place.default is None]
    left_over = [name for name in given if name not in wanted]
    other_shape = [
        f"{place.name} is {tuple(given[place.name].shape)} where the spec's {ours} makes it {tuple(place.shape)}"
        for ours, place in source.places.items()
        if place.name in given and given[place.name].shape != place.shape
    ]
    problems = [_listed("missing", sorted(missing)), _listed("left over", left_over), _listed("of another shape", other_shape)]
    if any(problems):
        found = "; ".join(filter(None, problems))
        hint = _prefix_hint(left_over, missing)
        raise UserError(f"this is not the {source.layout} state dict of the spec's {source.kind}: {found}{hint}")


def _listed(what: str, items: list[str]) -> str:
    """The items as "what: a, b", at most a dozen of them."""
    if not items:
        return ""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return f"{what}: {', '.join(items[:_LISTED])}{more}"


def _prefix_hint(left_over: Iterable[str], missing: Iterable[str]) -> str:
    """What to do where the names would be right without their prefix, as with `module.` of DDP."""
    wanted_keys = set(missing)
    for key in left_over:
        for wanted in (key[i + 1 :] for i, letter in enumerate(key) if letter == "."):
            if wanted in wanted_keys:
                return f"; perhaps remove the prefix {key.removesuffix(wanted)!r} from its names"
    return ""
