"""How many files somebody has to read: the files of this package whose functions are entered on the way of one image.

    python benchmarks/walk.py                  # the counts of docs/architecture.md
    python benchmarks/walk.py train --files    # one walk, with its files

Each walk is a command, run in a process of its own on small data that is made here, and watched by a profiler's hook in all its threads:

    train      `resnets train FOLDER`, from the command's start to the loss of the first batch
    detect     `resnets train SCENES`, from its start to the loss of the first batch
    predict    `resnets predict MODEL IMAGE`, from its start to the printed line

A file counts when one of its functions is entered; what runs while modules are imported does not count. Images are decoded in the process
itself (--workers 0), since a process of its own would hide its files.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = str(ROOT / "src" / "resnets") + os.sep
AIMS = {"train": 40, "detect": 55, "predict": 20}
"""Files that a walk should enter at most."""
DETECTOR = "cifar-resnet8-c4:stem_stride=2,stem_width=8,width=[8,16,32],strides=[1,2,2],min_size=64,max_size=64,anchor_sizes=[[20]],roi_size=7"


class Walk:
    """Counts the files that are entered, and how often the way goes from one to another."""

    def __init__(self, last: str | None) -> None:
        self.files: dict[str, int] = {}
        self.crossings = 0
        self.last = last
        self._importing = threading.local()
        self._before = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        if frame.f_code.co_name == "<module>":
            self._importing.depth = getattr(self._importing, "depth", 0) + (1 if event == "call" else -1)
            return
        if getattr(self._importing, "depth", 0):
            return
        name = frame.f_code.co_filename.removeprefix(PACKAGE)
        if event == "call":
            self.files[name] = self.files.get(name, 0) + 1
            self.crossings += name != self._before
            self._before = name
        elif self.last == frame.f_code.co_name:
            raise Arrived


class Arrived(BaseException):
    """The walk has come to its end."""


def walked(words: list[str], last: str | None) -> dict[str, Any]:
    """Runs a command in this process and counts; `last` is the function with whose return the walk ends."""
    from resnets.cli import main

    walk = Walk(last)
    threading.setprofile(walk)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        sys.setprofile(walk)
        try:
            status = main(words)
        except Arrived:
            status = 0
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    if status:
        raise SystemExit(f"resnets {' '.join(words)} failed: {said.getvalue()[-800:]}")
    return {"count": len(walk.files), "crossings": walk.crossings, "files": walk.files}


def make_data(folder: Path) -> None:
    """A folder of images by class, a folder of scenes, and the run of a classifier."""
    sys.path.append(str(ROOT / "tests"))
    import numpy as np
    import PIL.Image
    from shape_scenes import make_scenes

    from resnets.cli import main

    make_scenes(folder / "scenes")
    generator = np.random.default_rng(0)
    for place, name in enumerate(("red", "green", "blue")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 128, (48, 40, 3)).astype(np.uint8)
            pixels[..., place] += 100
            PIL.Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(
            [
                "train",
                str(folder / "photos"),
                "--network",
                "cifar-resnet8",
                "--max-steps",
                "1",
                "--no-report",
                "--output",
                str(folder / "run"),
            ]
        )


def walks(folder: Path) -> dict[str, tuple[list[str], str | None]]:
    """Each walk's words, and the function with whose return it ends."""
    photos, scenes = str(folder / "photos"), str(folder / "scenes")
    to_loss = ["--workers", "0", "--no-report", "--device", "cpu"]
    return {
        "train": (["train", photos, "--network", "cifar-resnet8", *to_loss, "--output", str(folder / "run-train")], "make_step"),
        "detect": (["train", scenes, "--detector", DETECTOR, *to_loss, "--output", str(folder / "run-detect")], "make_step"),
        "predict": (["predict", str(folder / "run"), photos + "/red/0.png", "--workers", "0"], None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("walks", nargs="*", choices=[*AIMS, []], help="all, unless some are named")
    parser.add_argument("--files", action="store_true", help="name them, with the calls into each")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(walked(*walks(options.folder)[options.walks[0]])))
        return
    with tempfile.TemporaryDirectory() as temporary:
        make_data(Path(temporary))
        for name in options.walks or AIMS:
            command = [sys.executable, __file__, name, "--in", temporary]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"{name:<9} {found['count']:>3} files (aim {AIMS[name]}), {found['crossings']:,} crossings")
            for file, calls in sorted(found["files"].items()) if options.files else ():
                print(f"  {file:<50} {calls:,}")


if __name__ == "__main__":
    main()
