"""The Faster R-CNNs that torchvision has released."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import UserError
from ..weights.download import expected_hash, sha256
from .layouts import shapes_of
from .spec import DetectorSpec
from .zoo import ROWS


def _releases() -> list[Any]:
    """In the order of the zoo's rows resnet50-fpn, resnet50-fpn-v2."""
    from torchvision.models import detection

    return [detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1, detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1]


def release_for(spec: DetectorSpec) -> Any:
    """torchvision's entry (WeightsEnum) of the weights that it has released for such a detector.

    Raises:
        ValueError: it has released none.
    """
    for row, release in zip((ROWS["resnet50-fpn"], ROWS["resnet50-fpn-v2"]), _releases(), strict=True):
        wanted = row.updated(num_classes=spec.num_classes)
        if shapes_of(wanted) == shapes_of(spec):
            return release
    raise UserError("the weights coco-v1 are those of resnet50-fpn and of resnet50-fpn-v2; this is another detector")


def release_in(path: Path) -> Any:
    """torchvision's entry of a file that it has released, known by its hash, or None."""
    names = {expected_hash(Path(urlsplit(release.url).path).name): release for release in _releases()}
    found = sha256(path)
    return next((release for digits, release in names.items() if found.startswith(digits)), None)
