"""What a detector is given, checked before anything is computed: a wrong box would show as a NaN much later.

Legend: images are (C, h, w); boxes (G, 4) x1 y1 x2 y2 in pixels; labels (G,) from 1, since 0 is the background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..core.errors import UserError


def check_images(images: Sequence[Tensor], channels: int) -> None:
    """Checks images.

    Raises:
        ValueError: none at all, one that is not (channels, h, w), is empty, or is not floating point; the message has its number.
    """
    if not len(images):
        raise UserError("there is no image; give a list of at least one tensor (C, h, w)")
    for i, image in enumerate(images):
        if image.dim() != 3 or image.shape[0] != channels or 0 in image.shape:
            raise UserError(f"image {i} has shape {tuple(image.shape)}; a detector of {channels} channels takes ({channels}, h, w)")
        if not image.is_floating_point():
            raise UserError(f"image {i} is {image.dtype}; a detector takes floating point in [0, 1]: image.float() / 255")


def check_targets(targets: Sequence[Mapping[str, Tensor]] | None, num_images: int, num_classes: int) -> None:
    """Checks what images show.

    Raises:
        ValueError: none where training needs them, or another number than of images; boxes without area or not finite; labels that are
            no class. The message has the image's number and the box.
    """
    if targets is None:
        raise UserError("training needs targets: for each image a dict with 'boxes' (G, 4) and 'labels' (G,), G = 0 for nothing")
    if len(targets) != num_images:
        raise UserError(
            f"there are {len(targets)} targets for {num_images} images; give one each, with no boxes where there is nothing"
        )
    for i, target in enumerate(targets):
        for name, shape in (("boxes", (-1, 4)), ("labels", (-1,))):
            if name not in target:
                raise UserError(f"target {i} has no {name!r}; it has {', '.join(target) or 'nothing'}")
            if target[name].dim() != len(shape) or target[name].shape[1:] != shape[1:]:
                wanted = "(G, 4)" if name == "boxes" else "(G,)"
                raise UserError(f"{name} of image {i} have shape {tuple(target[name].shape)}; they have to be {wanted}")
        boxes, labels = target["boxes"], target["labels"]
        if len(boxes) != len(labels):
            raise UserError(f"image {i} has {len(boxes)} boxes and {len(labels)} labels; give as many")
        if not boxes.is_floating_point() or labels.dtype != torch.int64:
            raise UserError(f"image {i} has boxes of {boxes.dtype} and labels of {labels.dtype}; they have to be float32 and int64")
    boxes, labels = (torch.cat([target[name] for target in targets]) for name in ("boxes", "labels"))
    # One question for all images: on a GPU each answer waits for the device. A comparison with NaN is false.
    wrong = ~((boxes[:, 2:] > boxes[:, :2]).all(1) & boxes.isfinite().all(1) & (labels > 0) & (labels < num_classes))
    if not bool(wrong.any()):
        return
    first = int(wrong.nonzero()[0])
    place, i = first, 0
    while place >= len(targets[i]["boxes"]):
        place -= len(targets[i]["boxes"])
        i += 1
    box, label = [round(v, 3) for v in boxes[first].tolist()], int(labels[first])
    if not 0 < label < num_classes:
        raise UserError(f"image {i}, box {place} has label {label}; labels are 1 to {num_classes - 1}, and 0 is the background")
    raise UserError(
        f"image {i}, box {place} is {box}: a box is x1 y1 x2 y2 with x1 < x2 and y1 < y2, all finite; correct or drop it"
    )
