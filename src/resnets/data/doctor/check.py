"""The doctor: checks a data set before anything is learnt from it, and lists what training should leave out.

Images are decoded as training decodes them, in processes of their own, so that a file that brings the decoder down is found like any
other. Arrays, the data sets by name, are compared by content. What can be found is the table `doctor_findings.KINDS`.

Legend: N images, C channels, H W height and width in pixels, K classes. Importing this module loads no torch.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...core.machine import usable_cores
from ..datasets.folders import IMAGE_ENDINGS, OwnImages
from ..image_source import ImageSource
from ..workers.isolated import Lost, outcomes
from .comparison import Fingerprints, Split
from .findings import Checkup, Finding, Place, in_order
from .image import Examined, array_thumbnail, examine, likeness_of, pixel_fingerprint, thumbnail

if TYPE_CHECKING:
    from ..datasets.catalogue import ImageArrays

Progress = Callable[[int, int], None]
"""Told how many images are done, and of how many."""

TINY_SIDE = 32
"""Pixels of the shorter side below which an image may be tiny; it is where it has less than half of the data set's median too, for
in a set of small images small ones are in place."""
IMBALANCE = 10.0
"""Times the training images of the smallest class that the largest may have."""
FEW_IMAGES = 10
"""Training images below which a class has few."""


def check_images(
    sources: Sequence[ImageSource],
    *,
    name: str,
    near_duplicates: bool = False,
    workers: int | None = None,
    seconds: float = 60.0,
    progress: Progress | None = None,
) -> Checkup:
    """Examines every image of the splits in `sources`, and compares them with each other.

    Args:
        sources: of one data set, with the same classes, and with names that are different over all splits.
        name: of the data set.
        near_duplicates: compare by a perceptual hash too.
        workers: processes; one per core if not given, 0 for none (then a crash of a decoder is one of this process).
        seconds: that one image may take.

    Raises:
        ValueError: no sources, or sources whose classes differ.
        ChildProcessError: the processes cannot be started.
    """  # fmt: skip
    if not sources or any(source.classes != sources[0].classes for source in sources):
        raise UserError("a check needs at least one split, and splits with the same classes")
    began = time.perf_counter()
    splits = [Split(source.split, source.classes, source.labels, source.name_of) for source in sources]
    prints = Fingerprints(splits, likeness=near_duplicates)
    jobs = ((number, index) for number, source in enumerate(sources) for index in range(len(source)))
    total = int(prints.offsets[-1])
    findings: list[Finding] = []
    shared = (tuple(sources), near_duplicates)
    examinations = outcomes(_examine, shared, jobs, workers=usable_cores() if workers is None else workers, seconds=seconds)
    for done, (place, outcome) in enumerate(examinations, 1):
        examined = Examined((("crash", outcome.reason),)) if isinstance(outcome, Lost) else outcome
        prints.put(place, examined)
        findings += [_about(prints, place, kind, detail, fatal=not examined.side) for kind, detail in examined.remarks]
        if progress is not None:
            progress(done, total)
    findings.sort(key=lambda finding: finding.places)  # processes finish in any order
    findings += _tiny(prints)
    return _checkup(name, prints, findings, near_duplicates, began)


def _examine(shared: tuple[tuple[ImageSource, ...], bool], place: Place) -> Examined:
    """In a process of its own."""
    source = shared[0][place[0]]
    try:
        content = source.read(place[1])
    except OSError as error:
        return Examined((("no-access", error.strerror or str(error)),))
    return examine(content, source.name_of(place[1]), likeness=shared[1])


def _about(prints: Fingerprints, place: Place, kind: str, detail: str, *, fatal: bool = False) -> Finding:
    names = (prints.name_of(place),)
    return Finding(kind, names, detail, names if fatal else (), (place,))


def _tiny(prints: Fingerprints) -> Iterator[Finding]:
    import numpy as np

    rows = np.flatnonzero(prints.side)
    if not len(rows):
        return
    median = float(np.median(prints.side[rows]))
    small = rows[prints.side[rows] < min(TINY_SIDE, median / 2)]
    for row, place in zip(small, prints.places(small.tolist()), strict=True):
        yield _about(prints, place, "tiny", f"shorter side {prints.side[row]} pixels; the median is {median:g}")


def check_arrays(
    splits: Sequence[ImageArrays],
    *,
    name: str,
    published: Mapping[str, int] | None = None,
    near_duplicates: bool = False,
    progress: Progress | None = None,
) -> Checkup:
    """Checks images that are in memory: their number, their classes, blank ones, and the same ones within and across splits.

    Images are called by split and index, from 0: `train/17`.

    Args:
        published: images that each split should have.

    Raises:
        ValueError: no splits, or splits whose classes differ.
    """  # fmt: skip
    if not splits or any(arrays.classes != splits[0].classes for arrays in splits):
        raise UserError("a check needs at least one split, and splits with the same classes")
    began = time.perf_counter()
    prints = Fingerprints(
        [Split(arrays.split, arrays.classes, arrays.labels.cpu().numpy(), _Numbered(arrays.split)) for arrays in splits],
        likeness=near_duplicates,
    )  # fmt: skip
    findings: list[Finding] = []
    total, done = int(prints.offsets[-1]), 0
    for number, arrays in enumerate(splits):
        expected = (published or {}).get(arrays.split)
        if expected not in (None, len(arrays)):
            findings.append(Finding("count", (arrays.split,), f"{len(arrays):,} images; published are {expected:,}"))
        for index, image in enumerate(arrays.images.cpu().permute(0, 2, 3, 1).numpy()):
            pixels = image[..., 0] if image.shape[2] == 1 else image
            digest = pixel_fingerprint(pixels)
            likeness = likeness_of(pixels) if near_duplicates else b""
            prints.put((number, index), Examined((), digest, digest, likeness, min(pixels.shape[:2])))
            if (pixels == pixels[0, 0]).all():
                findings.append(_about(prints, (number, index), "blank", f"every pixel is {pixels[0, 0].tolist()}"))
            done += 1
            if progress is not None:
                progress(done, total)
    return _checkup(name, prints, findings, near_duplicates, began)


@dataclass(frozen=True)
class _Numbered:
    """What the images of an array are called."""

    split: str

    def __call__(self, index: int) -> str:
        return f"{self.split}/{index}"


def _checkup(name: str, prints: Fingerprints, findings: list[Finding], near_duplicates: bool, began: float) -> Checkup:
    """What comparisons add, and everything in order."""
    import numpy as np

    classes = prints.splits[0].classes
    counts = {split.name: tuple(np.bincount(split.labels, minlength=len(classes)).tolist()) for split in prints.splits}
    findings += prints.same()
    if near_duplicates:
        findings += prints.near()
    findings += class_findings(classes, counts)
    return Checkup(name, classes, counts, in_order(findings), time.perf_counter() - began)


def class_findings(classes: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    """What the numbers of images say, by split and class: classes that splits do not share, imbalance, few images."""
    learnt = next((split for split in ("train", "all") if split in counts), None)
    for split, numbers in counts.items():
        missing = [name for name, number in zip(classes, numbers, strict=True) if number == 0]
        if missing:
            others = ", ".join(other for other in counts if other != split)
            alike = {_plain(name): name for name, number in zip(classes, numbers, strict=True) if number}
            hints = [f"{name} is spelt {alike[_plain(name)]} there?" for name in missing if _plain(name) in alike]
            detail = f"no images in {split}" + (f", but in {others}" if others else "")
            yield Finding("class-missing", tuple(missing), "; ".join((detail, *hints)))
    if learnt is None:
        return
    present = {name: number for name, number in zip(classes, counts[learnt], strict=True) if number}
    if not present:
        return
    largest, smallest = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    ratio = present[largest] / present[smallest]
    if ratio > IMBALANCE:
        detail = (
            f"{largest} has {present[largest]:,} images in {learnt}, {smallest} {present[smallest]:,}: {ratio:.1f} times as many"
        )
        yield Finding("imbalance", (largest, smallest), detail)
    few = {name: number for name, number in present.items() if number < FEW_IMAGES}
    if few:
        yield Finding("few-images", tuple(few), ", ".join(f"{name} {number}" for name, number in few.items()) + f" in {learnt}")


def _plain(name: str) -> str:
    """A class's name without what is easily mistyped: capitals, blanks and what joins words."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def folder_findings(own: OwnImages) -> Iterator[Finding]:
    """What is in a data set's folder and is none of its images: other files, images passed over, folders without images.

    Nothing for a data set that is a list of files. Hidden files and folders are nobody's business.

    Raises:
        OSError: a folder cannot be read.
    """
    if not own.root.is_dir():
        return
    known = {path for source in own.splits.values() for path in source.paths}
    holding = {"", *(folder for path in known for folder in _folders_above(path))}
    others: defaultdict[str, list[str]] = defaultdict(list)
    passed_over, empty = [], []
    for where, folders, files in os.walk(own.root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = "" if Path(where) == own.root else os.path.relpath(where, own.root).replace(os.sep, "/")
        if below not in holding and _parent(below) in holding:
            empty.append(below)
        for name in sorted(files):
            path = f"{below}/{name}".lstrip("/")
            if name.startswith(".") or path in known:
                continue
            if name.lower().endswith(IMAGE_ENDINGS):
                passed_over.append(path)
            else:
                others[os.path.splitext(name)[1].lower()].append(path)
    if passed_over:
        yield Finding("passed-over", tuple(passed_over), f"{len(passed_over):,} outside of the folders of classes")
    for ending, names in sorted(others.items()):
        yield Finding("ignored", tuple(names), f"{len(names):,} {f'ending in {ending}' if ending else 'without an ending'}")
    if empty:
        yield Finding("empty-folder", tuple(empty), f"{len(empty):,}")


def _parent(folder: str) -> str:
    return folder.rpartition("/")[0]


def _folders_above(path: str) -> Iterator[str]:
    while path := _parent(path):
        yield path


def thumbnails(sources: Sequence[ImageSource | ImageArrays], places: Sequence[Place], *, workers: int = 1) -> dict[Place, bytes]:
    """Small JPEGs of some images, damaged ones as far as they can be seen; those that show nothing are left out."""
    found: dict[Place, bytes] = {}
    for place, outcome in outcomes(_thumbnail, tuple(sources), places, workers=workers, seconds=10.0):
        if not isinstance(outcome, Lost) and outcome:
            found[place] = outcome
    return found


def _thumbnail(sources: tuple[ImageSource | ImageArrays, ...], place: Place) -> bytes:
    source = sources[place[0]]
    if hasattr(source, "images"):
        image = source.images[place[1]].cpu().permute(1, 2, 0).numpy()
        return array_thumbnail(image[..., 0] if image.shape[2] == 1 else image)
    return thumbnail(source.read(place[1]))
