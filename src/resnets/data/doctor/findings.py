"""What a check of a data set can find, as a table, and what one check did find, as data.

A new kind of finding is a row of `KINDS` and a line where it is seen; the terminal, the page and the exclusion list follow.
Importing this module loads no torch.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...core.files import write_atomically

Severity = Literal["exclude", "warn", "note"]
SEVERITIES: tuple[Severity, ...] = ("exclude", "warn", "note")
"""exclude: training must leave images out; warn: a person should look; note: training copes, and this says how."""

Place = tuple[int, int]
"""An image: the number of its split among those checked, and its index there."""


@dataclass(frozen=True)
class Kind:
    """One thing that can be wrong with a data set."""

    severity: Severity
    title: str
    explanation: str
    """What it is and what training makes of it."""
    what_to_do: str


KINDS: dict[str, Kind] = {
    "no-access": Kind(
        "exclude", "Files that cannot be read", "The system gives no access to the file, or a link leads nowhere.",
        "Repair permissions or the link, or leave the file out.",
    ),
    "empty": Kind(
        "exclude", "Empty files", "The file has zero bytes, as after a download or copy that was cut off at once.",
        "Fetch it again, or leave it out.",
    ),
    "no-image": Kind(
        "exclude", "Not images", "The name says image, the content is something else, or of a format that is not read here.",
        "Convert it to JPEG or PNG if it is an image; otherwise leave it out.",
    ),
    "damaged": Kind(
        "exclude", "Truncated or damaged images", "Decoding fails before the last row. Nothing is guessed in its place.",
        "Fetch it again from its origin, or leave it out.",
    ),
    "too-large": Kind(
        "exclude", "Decompression bombs", "The header declares more pixels than are decoded safely, whatever the file's own size.",
        "Make it smaller with an image editor if it is a real image; otherwise leave it out.",
    ),
    "crash": Kind(
        "exclude", "Images that bring the decoder down", "The process that decoded it died or never finished; the check went on.",
        "Leave it out. If other programs open it, save it again with one of them.",
    ),
    "image-missing": Kind(
        "exclude", "Annotated images that are not there", "The annotations name an image of which there is no file.",
        "Put the file there, or take the image out of the annotations.",
    ),
    "annotation-missing": Kind(
        "exclude", "Images without an annotation file", "A list names the image and no annotation belongs to it, so that nobody can "
        "say whether it is empty.",
        "Write the annotation, without objects if there are none, or take the image off the list.",
    ),
    "annotation-broken": Kind(
        "exclude", "Annotations that cannot be read", "The file is damaged, or a box is not four numbers. Training refuses to begin.",
        "Correct the entry, or fetch the file again.",
    ),
    "category-unknown": Kind(
        "exclude", "Objects of classes that are not listed", "Most often a misspelt name. Training refuses to begin.",
        "Correct the class, or add it to the list of classes.",
    ),
    "id-duplicate": Kind(
        "exclude", "Numbers or names that occur twice", "Two entries go by the same number, and which one is meant cannot be told. "
        "Training refuses to begin.",
        "Give each its own, or remove one.",
    ),
    "leak": Kind(
        "exclude", "The same image on both sides",
        "An image to learn from is also one to evaluate on, so that the measured accuracy is partly memory. The copy to evaluate "
        "on stays, so that figures remain comparable; those to learn from are left out.",
        "Train with the exclusion list, or delete the named copies from the training folder.",
    ),
    "contradiction": Kind(
        "warn", "The same image under different classes", "At most one of the labels can be right; training is pulled both ways.",
        "Decide which class is right, and delete the other copies.",
    ),
    "duplicate": Kind(
        "warn", "The same image more than once",
        "It counts more often than others in the loss or in the accuracy. Where a part is held out at random, copies can fall on both "
        "sides.",
        "Keep one of each.",
    ),
    "near-duplicate": Kind(
        "warn", "Images that look alike",
        "By a perceptual hash of 128 bits and 16×16 grey cells: resized, recompressed or slightly changed copies have nearly the same. "
        "It is a guess: different images of one scene or one kind of thing are found too, and mirrored or cropped copies are not. "
        "The first of each group is what the others are like.",
        "Look at them; where they are copies, keep one, and never one on each side of the split.",
    ),
    "box-inverted": Kind(
        "warn", "Boxes turned inside out", "The right edge is left of the left one, or the bottom above the top. Training leaves the box "
        "out, so that the object in it counts as background.",
        "Swap the corners; a tool that writes width and height where corners are expected makes such boxes too.",
    ),
    "box-degenerate": Kind(
        "warn", "Boxes without an area", "Height or width is 0, as after a click where a drag was meant. Training leaves the box out.",
        "Draw the box, or remove it.",
    ),
    "box-outside": Kind(
        "warn", "Boxes that reach out of their image", "By more than a pixel. Training cuts them off at the edge.",
        "Look whether the image was scaled or turned after it was annotated; then all of its boxes are wrong.",
    ),
    "box-thin": Kind(
        "warn", "Boxes of one pixel", "A pixel high or wide, more likely a slip of the mouse than an object. Training learns from it.",
        "Draw the box, or remove it.",
    ),
    "size-differs": Kind(
        "warn", "Images of another size than annotated", "The annotation states another height and width than the file has. Training takes "
        "the boxes for pixels of the file.",
        "Look whether the image was scaled after it was annotated; then its boxes are wrong.",
    ),
    "annotation-orphan": Kind(
        "warn", "Annotations of images that are not listed", "They belong to no image of the file. Training passes over them.",
        "List the image, or remove the annotation.",
    ),
    "mask-missing": Kind(
        "warn", "Masks that are not there", "A list for segmentation names an image that has no mask.",
        "Put the mask there, or take the image off that list.",
    ),
    "mask-broken": Kind(
        "warn", "Masks that do not fit", "Damaged, of another size than the image, or with classes that there are not.",
        "Make the mask again from its source.",
    ),
    "class-missing": Kind(
        "warn", "Classes that differ between splits",
        "A class to learn without images to evaluate on is never measured; one to evaluate on without images to learn from is "
        "always wrong.",
        "Give the class the same folder name in both splits, or add images, or remove it.",
    ),
    "passed-over": Kind(
        "warn", "Images outside of the classes", "They are beside the folders of classes, so that no label is theirs: training passes "
        "over them.",
        "Move them into a class's folder, or away.",
    ),
    "empty-folder": Kind(
        "warn", "Folders without images", "They make no class, whatever their name.", "Fill or remove them.",
    ),
    "imbalance": Kind(
        "warn", "Imbalanced classes", "The largest class has many times the training images of the smallest; rare classes suffer.",
        "Read per-class accuracy, not only the mean; add images to small classes, or train with balanced sampling.",
    ),
    "few-images": Kind(
        "note", "Classes with few images", "What is learnt from so few images rests on chance, and so does what is measured on them.",
        "Add images, merge classes, or fine-tune a pretrained network.",
    ),
    "count": Kind(
        "warn", "Another number of images than published", "The arrays do not have the size that the data set is known for.",
        "Fetch the data set again.",
    ),
    "blank": Kind(
        "warn", "Images of one colour", "Every pixel is the same: there is nothing to learn from it.",
        "Look whether it belongs there; most often it is a failed export.",
    ),
    "cmyk": Kind(
        "warn", "CMYK images", "Made for printing. They are converted without their colour profile, and colours shift.",
        "Convert them to RGB with an image editor if colours matter.",
    ),
    "animated": Kind(
        "warn", "Images of several frames", "Animations and multi-page files: only the first frame is used.",
        "Cut out the frames that you want as images of their own.",
    ),
    "tiny": Kind(
        "warn", "Tiny images", "Far smaller than the others: magnified to the network's input they are a blur, often a thumbnail "
        "that strayed in.",
        "Find the full-sized original, or remove it.",
    ),
    "huge": Kind(
        "note", "Huge images", "Decoding takes far longer than for the others, in every epoch.",
        "Store them smaller, for instance with a shorter side of 512 pixels.",
    ),
    "sixteen-bit": Kind(
        "note", "16-bit images", "They are scaled to 8 bits per channel, which loses the finest steps.",
        "Nothing, unless the finest steps are what matters, as in medical images: then stretch the range first.",
    ),
    "palette": Kind("note", "Palette images", "At most 256 colours, by table. They are converted to RGB.", "Nothing."),
    "transparent": Kind(
        "note", "Transparent images", "Transparent parts are laid on white.", "Nothing, unless the background should be another.",
    ),
    "rotated": Kind(
        "note", "Images turned by their EXIF data", "The camera stored them rotated; they are turned upright before training.",
        "Nothing here; programs that ignore EXIF show them rotated.",
    ),
    "no-objects": Kind(
        "note", "Images without objects", "Background only. A detector learns from them what is nothing.",
        "Nothing, if they are meant to be empty; otherwise annotate them.",
    ),
    "misnamed": Kind(
        "note", "Endings that do not fit", "The content is of another format than the name says. Training goes by the content.",
        "Rename, if other programs stumble over it.",
    ),
    "ignored": Kind(
        "note", "Files that training passes over", "They are among the images, and their names are not those of images.",
        "Rename or convert those that should be images.",
    ),
}  # fmt: skip
"""By name, in the order in which they are shown within a severity."""


@dataclass(frozen=True)
class Finding:
    """One thing found: on one image, a group of images, or classes."""

    kind: str
    """A key of `KINDS`."""
    names: tuple[str, ...]
    """Of the images, files or classes concerned."""
    detail: str = ""
    """What exactly, in a few words."""
    excluded: tuple[str, ...] = ()
    """Those of the names that training should leave out."""
    places: tuple[Place, ...] = ()
    """Where the named images are; empty where the names are not of images."""

    @property
    def severity(self) -> Severity:
        """Of its kind."""
        return KINDS[self.kind].severity

    def as_json(self) -> dict[str, Any]:
        """The contract of `resnets data check --json`."""
        kind = KINDS[self.kind]
        return {
            "event": "finding", "kind": self.kind, "severity": self.severity, "names": [shown(name) for name in self.names],
            "detail": self.detail, "excluded": [shown(name) for name in self.excluded], "explanation": kind.explanation,
            "what_to_do": kind.what_to_do,
        }  # fmt: skip


@dataclass(frozen=True)
class Checkup:
    """What a check saw and found."""

    name: str
    """Of the data set."""
    classes: tuple[str, ...]
    """Names of the K classes, by label."""
    counts: Mapping[str, tuple[int, ...]]
    """By split: images in each of the K classes."""
    findings: tuple[Finding, ...]
    """By severity, then by kind as in `KINDS`, then by name."""
    seconds: float
    images: Mapping[str, int] | None = None
    """By split, where an image can show several classes or none, so that the counts do not add up to it."""
    objects: int | None = None
    """Over all splits, where images have objects with boxes."""

    @property
    def by_split(self) -> dict[str, int]:
        """Images of each split."""
        return {split: sum(counts) for split, counts in self.counts.items()} if self.images is None else dict(self.images)

    @property
    def num_images(self) -> int:
        """Over all splits."""
        return sum(self.by_split.values())

    @property
    def exclusions(self) -> dict[str, str]:
        """Images that training should leave out, by name, each with the first reason found."""
        reasons: dict[str, str] = {}
        for finding in self.findings:
            for name in finding.excluded:
                reasons.setdefault(name, f"{finding.kind}: {finding.detail}" if finding.detail else finding.kind)
        return reasons

    def by_kind(self) -> dict[str, list[Finding]]:
        """The findings of each kind that was found, worst first."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.kind, []).append(finding)
        return groups

    def summary(self) -> dict[str, Any]:
        """The last object of `resnets data check --json`, without the paths of what was written."""
        severities = Counter(finding.severity for finding in self.findings)
        return {
            "event": "summary", "data": self.name, "num_images": self.num_images, "num_classes": len(self.classes),
            "splits": self.by_split, **({} if self.objects is None else {"num_objects": self.objects}),
            "excluded": len(self.exclusions), **{severity: severities[severity] for severity in SEVERITIES},
            "kinds": {kind: len(findings) for kind, findings in self.by_kind().items()}, "seconds": round(self.seconds, 3),
            "images_per_second": round(self.num_images / self.seconds, 1) if self.seconds else None,
        }  # fmt: skip


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by the table's order, then as they were found."""
    rank = {kind: (SEVERITIES.index(row.severity), place) for place, (kind, row) in enumerate(KINDS.items())}
    return tuple(sorted(findings, key=lambda finding: rank[finding.kind]))


def write_exclusions(path: Path, exclusions: Mapping[str, str]) -> None:
    """Writes the list as CSV with a line `path,reason` at its head, in UTF-8; names that are not keep their bytes.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "reason"))
    rows.writerows(exclusions.items())
    write_atomically(path, text.getvalue().encode("utf-8", "surrogateescape"))


def shown(name: str) -> str:
    """A file's name as it can be printed anywhere: what is no character, or would move the cursor, as an escape."""
    printable = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)
    return printable.encode("utf-8", "backslashreplace").decode()
