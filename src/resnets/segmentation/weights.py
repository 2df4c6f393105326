"""Weights of whole segmenters: torchvision's by name, and `create_segmenter(..., weights=...)`.

Legend: K classes, the background included. Names of tensors: `layouts`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.models import get_model_weights

from ..core.errors import UserError
from ..weights.download import fetched
from ..weights.foreign_file import read_tensors
from ..weights.layouts import convert
from .segmenter import Segmenter
from .spec import BACKGROUND, SegmenterSpec
from .zoo import ROWS

_LOG = logging.getLogger("resnets")


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
        ours = convert(state, spec=theirs, source=layout)
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
