"""resnets data check: find what is wrong with a data set before training on it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...core.errors import UserError
from ...data.datasets.catalogue import DATASETS
from ...data.doctor.findings import KINDS, Checkup, Finding, in_order, shown, write_exclusions
from ...reports.tables import duration, print_table, table
from ..command import Command
from ..options import messages, print_json, results

if TYPE_CHECKING:
    from ...data.datasets.catalogue import ImageArrays
    from ...data.datasets.folders import OwnImages
    from ...data.doctor.check import Progress as Told
    from ...data.image_source import ImageSource

_DESCRIPTION = """\
Check a data set: files that are empty, damaged, no images or far too large; images that are on both sides of the split, or twice, or
under two classes; CMYK, 16-bit, palette, turned, animated, blank, tiny and huge ones; classes that splits do not share, imbalance, and
files that training passes over. Of data with boxes also: boxes turned inside out, without an area or out of their image, images and
annotations that are missing, unknown classes, numbers that occur twice, and sizes that differ from the files'.

Every file is decoded as training decodes it, in processes of their own, so that a file that crashes the decoder is found like any other.
Written are a page with the images found and exclude.csv (path,reason), which training on own images leaves out with --exclude.
Findings are of three severities: exclude (training must leave images out), warn (look at it), note (training copes).
Exit status: 0 when the check itself was carried out, whatever it found; with --strict 1 when images have to be left out; 2 when there is
no such data set."""

_EXAMPLES = 3
"""Names shown in the table for each kind."""
_SECONDS_BETWEEN_LINES = 5.0


@dataclass
class CheckOptions:
    """Options of `resnets data check`."""

    data: tyro.conf.Positional[str]
    """A folder (train/CLASS/IMAGE and val/CLASS/IMAGE, or CLASS/IMAGE; with boxes: VOC's or COCO's layout), a CSV (path,label[,split]),
    or a data set by name."""
    output: Path | None = None
    """Folder for the page (index.html) and exclude.csv; unset: checks/NAME. What an earlier check wrote there is replaced."""
    near_duplicates: bool = False
    """Look for images that are nearly the same too, by a perceptual hash. It is a guess, and nothing is left out for it."""
    strict: bool = False
    """Exit with status 1 when images have to be left out, as a step of a pipeline needs."""
    page: bool = True
    """Write the page."""
    workers: int | None = None
    """Processes; unset: one per core. With 0 per file that crashes the decoder ends the check."""
    seconds: float = 60.0
    """After which an image that is still being decoded is given up."""
    data_folder: Path | None = None
    """Folder that holds the files of a data set with a name; unset: cache, system, then download."""
    json: bool = False
    """One object a finding and a summary at the end on standard output."""


def run(options: CheckOptions) -> int:
    """Carries out the command."""
    if options.workers is not None and options.workers < 0:
        raise UserError(f"--workers {options.workers} is negative; 0 means none")
    if options.seconds <= 0:
        raise UserError(f"--seconds {options.seconds:g} leaves no time; choose for instance 60")
    files = options.data not in DATASETS  # a data set with a name is trained on as it was published
    checkup, sources, crash_proof = _check(options)
    folder = options.output or Path("checks") / Path(checkup.name).name
    files = files and checkup.objects is None  # with boxes no list of exclusions is asked for
    page, exclusions = folder / "index.html", folder / "exclude.csv"
    folder.mkdir(parents=True, exist_ok=True)
    write_exclusions(exclusions, checkup.exclusions)
    if options.page:
        from ...data.doctor.check import thumbnails
        from ...reports.doctor_page import illustrated, write_page

        places = illustrated(checkup)
        write_page(
            page, checkup, thumbnails(sources, places, workers=int(crash_proof and bool(places))), exclusions if files else None
        )
    if options.json:
        for finding in checkup.findings:
            print_json(finding.as_json())
        print_json({**checkup.summary(), "exclusions": str(exclusions), "page": str(page) if options.page else None})
    else:
        _print(checkup, exclusions, page if options.page else None, files=files)
    return int(options.strict and any(finding.severity == "exclude" for finding in checkup.findings))


def _check(options: CheckOptions) -> tuple[Checkup, list[ImageSource | ImageArrays], bool]:
    """The check, what was checked, and whether in processes of their own."""
    from dataclasses import replace

    from ...data.datasets.catalogue import SPLITS, load
    from ...data.doctor.check import check_arrays, check_images, folder_findings

    if options.data in DATASETS:
        info = DATASETS[options.data]
        arrays = [load(options.data, split, options.data_folder, report=messages().print) for split in SPLITS]
        published = {"train": info.num_train, "test": info.num_test}
        with shown_progress(options.data) as told:
            near = options.near_duplicates
            return check_arrays(arrays, name=info.name, published=published, near_duplicates=near, progress=told), [*arrays], False
    annotated = _annotated_folder(options)
    if annotated is not None:
        from ...data.doctor.annotations import check_annotated

        with shown_progress(annotated.name) as told:
            found, images = check_annotated(
                annotated, near_duplicates=options.near_duplicates, workers=options.workers, seconds=options.seconds, progress=told
            )
        return found, [*images], options.workers != 0
    own = _find(options.data)
    sources = list(own.splits.values())
    with shown_progress(own.name) as told:
        checkup = check_images(
            sources, name=own.name, near_duplicates=options.near_duplicates, workers=options.workers, seconds=options.seconds,
            progress=told,
        )  # fmt: skip
    checkup = replace(checkup, findings=in_order((*checkup.findings, *folder_findings(own))))
    return checkup, [*sources], options.workers != 0


def _annotated_folder(options: CheckOptions) -> Path | None:
    """The folder of a data set with boxes; None where the data is something else."""
    from ...data.annotated.opening import ANNOTATED, folder_of, layout

    if options.data in ANNOTATED:
        return folder_of(options.data, options.data_folder)
    path = Path(options.data).expanduser()
    return path if layout(path) is not None else None


def _find(data: str) -> OwnImages:
    """The images in a folder or of a CSV; classes that only some splits have are a finding, and no error as for training."""
    from ...data.datasets.csv_list import find_csv
    from ...data.datasets.folders import find_folder

    path = Path(data).expanduser()
    if path.is_dir():
        return find_folder(path, lenient=True)
    if path.is_file():
        return find_csv(path)
    from ...data.annotated.opening import ANNOTATED

    names = ", ".join((*DATASETS, *ANNOTATED))
    raise UserError(f"there is no folder, no CSV and no data set {data!r}; data sets with a name are {names}")


@contextmanager
def shown_progress(name: str, doing: str = "checking", done_: str = "checked", what: str = "images") -> Iterator[Told]:
    """A bar on a terminal, a line now and then elsewhere."""
    console = messages()
    bar = Progress(
        TextColumn(doing + " {task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True),
        TextColumn("left"), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    task = bar.add_task(shown(name), total=None)
    said = time.perf_counter()

    def tell(done: int, total: int) -> None:
        nonlocal said
        bar.update(task, completed=done, total=total)
        if not console.is_terminal and time.perf_counter() - said > _SECONDS_BETWEEN_LINES:
            said = time.perf_counter()
            console.print(f"{done_} {done:,} of {total:,} {what}", markup=False)

    with bar:
        yield tell


def _print(checkup: Checkup, exclusions: Path, page: Path | None, *, files: bool) -> None:
    console = results()
    splits = ", ".join(f"{split} {count:,}" for split, count in checkup.by_split.items())
    objects = "" if checkup.objects is None else f" with {checkup.objects:,} objects"
    speed = f"{checkup.num_images / checkup.seconds:,.0f} per second" if checkup.seconds else ""

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    say(
        f"{shown(checkup.name)}: {checkup.num_images:,} images{objects} in {len(checkup.classes):,} classes ({splits}), "
        f"checked in {duration(checkup.seconds)} ({speed})"
    )
    if checkup.findings:
        rows = [
            (findings[0].severity, KINDS[kind].title, f"{len(findings):,}", _examples(findings))
            for kind, findings in checkup.by_kind().items()
        ]
        print_table(console, table("", ("severity", "finding", "found", "for example"), rows))
    else:
        say("nothing is wrong with them")
    if page is not None:
        say(f"shown on images in {page}")
    count = len(checkup.exclusions)
    if count:
        said = f"{count:,} {'image has' if count == 1 else 'images have'} to be left out, named with the reason in {exclusions}"
        say(said + (f"; to train without: --exclude {shlex.quote(str(exclusions))}" if files else ""))


def _examples(findings: list[Finding]) -> str:
    """The first few findings of a kind, each by what it was found on, and what exactly."""
    if len(findings[0].names) == 1:
        names = [shown(finding.names[0]) for finding in findings]
        first = f"{names[0]} ({findings[0].detail})" if findings[0].detail else names[0]
        more = len(names) - _EXAMPLES
        return "\n".join([first, *names[1:_EXAMPLES]]) + (f"\nand {more:,} more" if more > 0 else "")
    names = [shown(name) for name in findings[0].names]
    more = len(names) - _EXAMPLES
    return "\n".join([findings[0].detail + ":", *names[:_EXAMPLES]]) + (f"\nand {more:,} more" if more > 0 else "")


COMMAND = Command("data check", CheckOptions, _DESCRIPTION, run)
