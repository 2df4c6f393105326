"""Weights of whole segmenters: torchvision's names to ours and back, and `create_segmenter(..., weights=...)`.

Legend: K classes, the background included. One table serves both directions; every tensor has its place, or it is an error.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from ..core.errors import UserError
from ..weights.download import fetched
from ..weights.foreign_file import read_tensors
from ..weights.layouts import layout_keys
from ..weights.layouts.table import renaming
from .segmenter import Segmenter
from .spec import BACKGROUND, SegmenterSpec
from .zoo import ROWS

_LOG = logging.getLogger("resnets")
_COUNTER = "num_batches_tracked"
_LISTED = 8

_FCN = {"{head}.layer.conv": "{theirs}.0", "{head}.layer.norm": "{theirs}.1", "{head}.classifier": "{theirs}.4"}


def _fcn_rows(ours: str, theirs: str) -> dict[str, str]:
    return {key.format(head=ours): value.format(theirs=theirs) for key, value in _FCN.items()}


def _deeplab_rows(num_rates: int) -> dict[str, str]:
    branches, pooled = "head.pyramid.branches.", num_rates + 1
    return {
        f"{branches}{pooled}.layer.conv": f"classifier.0.convs.{pooled}.1",  # behind the pool, which counts as a layer there
        f"{branches}{pooled}.layer.norm": f"classifier.0.convs.{pooled}.2",
        branches + "{branch}.conv": "classifier.0.convs.{branch}.0",
        branches + "{branch}.norm": "classifier.0.convs.{branch}.1",
        "head.pyramid.project.conv": "classifier.0.project.0",
        "head.pyramid.project.norm": "classifier.0.project.1",
        "head.layer.conv": "classifier.1",
        "head.layer.norm": "classifier.2",
        "head.classifier": "classifier.4",
    }


@lru_cache(maxsize=16)
def _shapes(spec: SegmenterSpec) -> dict[str, torch.Size]:
    with torch.device("meta"):
        segmenter = Segmenter(spec)
    return {name: value.shape for name, value in segmenter.state_dict().items()}


def segmenter_keys(spec: SegmenterSpec) -> dict[str, str]:
    """Our name -> torchvision's for every parameter and buffer of the spec's segmenter, in our state dict's order.

    Raises:
        ValueError: torchvision has no such trunk, or no such head.
    """
    if spec.skips or spec.subpixels > 1:
        raise UserError(
            f"torchvision's segmenters have no skips={spec.skips} and subpixels={spec.subpixels}; set skips=0 and subpixels=1"
        )
    trunk = layout_keys("torchvision", spec.trunk)
    rows = _fcn_rows("head", "classifier") if spec.head == "fcn" else _deeplab_rows(len(spec.pyramid_rates))
    rename = renaming({**rows, **_fcn_rows("auxiliary", "aux_classifier")})
    keys = {}
    for name in _shapes(spec):
        inside = name.removeprefix("network.")
        if inside != name:
            keys[name] = f"backbone.{trunk[inside]}"
            continue
        path, _, leaf = name.rpartition(".")
        theirs = rename(path)
        assert theirs is not None, f"no name for {path}"
        keys[name] = f"{theirs}.{leaf}"
    assert len(set(keys.values())) == len(keys), "two tensors have one name"
    return keys


def convert_segmenter(
    state_dict: Mapping[str, Tensor], *, spec: SegmenterSpec, source: str = "torchvision", target: str = "resnets"
) -> dict[str, Tensor]:
    """The state dict of the spec's segmenter under the other package's names. Tensors are the same storage, not copies.

    Args:
        state_dict: all parameters and buffers; norms' `num_batches_tracked` may be absent and are then 0.
        spec: the segmenter.
        source, target: "resnets" or "torchvision".

    Raises:
        ValueError: another package, or one without such a segmenter; keys that are missing or left over; tensors of another shape.
    """
    names = {}
    for side in (source, target):
        if side not in ("resnets", "torchvision"):
            raise UserError(f"there is no layout {side!r} of segmenters; the layouts are resnets and torchvision")
        names[side] = segmenter_keys(spec) if side == "torchvision" else {name: name for name in _shapes(spec)}
    expected = names[source]
    wanted = set(expected.values())
    problems = {
        "missing": [key for key in expected.values() if key not in state_dict and not key.endswith(_COUNTER)],
        "left over": [key for key in state_dict if key not in wanted],
        "of another shape": [
            f"{key} is {tuple(state_dict[key].shape)} where the spec's {ours} makes it {tuple(_shapes(spec)[ours])}"
            for ours, key in expected.items()
            if key in state_dict and state_dict[key].shape != _shapes(spec)[ours]
        ],
    }
    if any(problems.values()):
        found = "; ".join(_listed(what, items) for what, items in problems.items() if items)
        raise UserError(f"this is not the {source} state dict of the spec's segmenter: {found}")
    return {names[target][ours]: state_dict.get(key, torch.tensor(0)) for ours, key in expected.items()}


def _listed(what: str, items: list[str]) -> str:
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return f"{what}: {', '.join(items[:_LISTED])}{more}"


def list_segmenter_weights() -> dict[str, tuple[str, Any]]:
    """torchvision's weights by their names here, such as "fcn-resnet50/coco-with-voc-labels-v1": the segmenter's name and the entry
    of torchvision's enum, which knows the address, the classes and what was measured."""
    return {
        f"{name}/{entry.name.lower().replace('_', '-')}": (name, entry)
        for name in ROWS
        for entry in get_model_weights(name.replace("-", "_"))
    }


def load_pretrained_segmenter(spec: SegmenterSpec, weights: str | Path, *, keeps_classes: bool = True) -> Segmenter:
    """The segmenter of `spec` with pretrained weights, in evaluation mode, with `.classes` where they are known.

    Args:
        weights: a label or name of `list_segmenter_weights`, or a file of torchvision's or ours.
        keeps_classes: whether K is the spec's and not that of the weights.

    Raises:
        ValueError: nothing has that name, or what has it are weights of another segmenter.
        WeightsUnavailable: they would have to be fetched and cannot be.
        OSError: a file cannot be read.
    """
    path, classes = Path(weights).expanduser(), None
    if not path.is_file():
        path, classes = _of_torchvision(str(weights), spec)
    state = read_tensors(path)
    layout = "torchvision" if any(key.startswith("backbone.") for key in state) else "resnets"
    classifier, extra = (
        ("classifier.4.weight", "aux_classifier.") if layout == "torchvision" else ("head.classifier.weight", "auxiliary.")
    )
    if classifier not in state:
        raise UserError(
            f"{path} holds no segmenter: it has no {classifier}, but {', '.join(list(state)[:3])}, ...; weights of a trunk alone are "
            "given as network_weights="
        )
    theirs = spec.updated(
        num_classes=len(state[classifier]) // spec.subpixels**2, auxiliary=any(key.startswith(extra) for key in state)
    )
    try:
        ours = convert_segmenter(state, spec=theirs, source=layout)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    target = spec if keeps_classes else spec.updated(num_classes=theirs.num_classes)
    segmenter, notes = _adapted(ours, theirs, target)
    for note in notes:
        _LOG.warning(f"{weights}: {note}")
    if classes is not None and len(classes) + 1 == target.num_classes == theirs.num_classes:
        segmenter.classes = classes
    return segmenter.eval()


def _of_torchvision(label: str, spec: SegmenterSpec) -> tuple[Path, tuple[str, ...]]:
    """The fetched file of weights of that name for the spec's segmenter, and its classes without the background."""
    known = list_segmenter_weights()
    plain = label.lower().replace("_", "-")
    fitting = {
        name: entry for name, (row, entry) in known.items() if ROWS[row].network == spec.network and ROWS[row].head == spec.head
    }
    found = fitting.get(plain) or next((entry for name, entry in fitting.items() if name.endswith(f"/{plain}")), None)
    if found is None:
        if plain in known or any(name.endswith(f"/{plain}") for name in known):
            raise UserError(f"there are no weights {label!r} for {spec.head}-{spec.network}; there are {', '.join(known)}")
        near = difflib.get_close_matches(plain, [*known, *(name.rpartition("/")[2] for name in known)], n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"names are {', '.join(known)}."
        raise UserError(f"weights={label!r} is neither a file nor a name: {hint}")
    background, *classes = found.meta["categories"]
    assert background.strip("_") == BACKGROUND
    return fetched(found.url), tuple(classes)


def _adapted(state: Mapping[str, Tensor], theirs: SegmenterSpec, target: SegmenterSpec) -> tuple[Segmenter, list[str]]:
    """The target's segmenter with those weights, and what had to be changed, in sentences."""
    segmenter, notes, given = Segmenter(target), [], dict(state)
    fresh = segmenter.state_dict()
    if theirs.num_classes != target.num_classes:
        given |= {name: fresh[name] for name in fresh if ".classifier." in name}
        notes.append(
            f"the weights are for {theirs.num_classes} classes; the classifiers are freshly initialised for {target.num_classes}, train "
            "them"
        )
    if theirs.auxiliary and not target.auxiliary:
        given = {name: value for name, value in given.items() if not name.startswith("auxiliary.")}
        notes.append("the auxiliary head was left off, as auxiliary=False asks")
    if target.auxiliary and not theirs.auxiliary:
        given |= {name: value for name, value in fresh.items() if name.startswith("auxiliary.")}
        notes.append("the weights have no auxiliary head; it is freshly initialised")
    segmenter.load_state_dict(given)
    return segmenter, notes
