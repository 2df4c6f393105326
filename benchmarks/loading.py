"""Loading JPEGs for training: ours against torchvision's `ImageFolder`, its reference transforms and torch's `DataLoader`.

    python benchmarks/loading.py                                    # results/loading-cpu.json
    python benchmarks/loading.py --rounds 2 --images 256          # a quick look

All read the same files with as many workers, and end with the same: normalised float32 batches of 224 x 224 pixels, cut out at random
(area 8 % to 100 %) and mirrored at random. Each engine runs in a process of its own, loads a whole epoch untimed (start of the workers;
for the stores also the decoding of all images, whose time the record has) and then times epochs. A round runs every engine once, in
an order that turns from round to round; a ratio is ours over the peer's images/s in the same round.

The files are made of real photographs that come with scikit-image, scikit-learn and matplotlib, cut and scaled at random: `imagenet`
like the images of ImageNet (about 500 x 375), `phone` as a phone takes them (about 2000 x 1500). They need the packages
scikit-image, scikit-learn and psutil.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from resnets.core.environment import keep_large_buffers

ENGINES = ("torchvision", "stream", "memory", "disk")
SIZE, MEAN, STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETS = {"imagenet": (500, 375), "phone": (2000, 1500)}
"""Width and height of the files."""


def photographs() -> list[Any]:
    """Real photographs as Pillow images."""
    import matplotlib.cbook
    import PIL.Image
    import skimage.data
    from sklearn.datasets import load_sample_images

    arrays = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    found = [PIL.Image.fromarray(array) for array in [*arrays, *load_sample_images().images]]
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        found.append(PIL.Image.open(file).convert("RGB"))
    return found


def make_files(folder: Path, kind: str, count: int) -> None:
    """Writes `count` JPEGs of quality 90 in ten classes; the same ones each time."""
    import numpy
    import PIL.Image

    images, random = photographs(), numpy.random.default_rng(0)
    for number in range(count):
        image = images[number % len(images)]
        width, height = (round(side * random.uniform(0.9, 1.1)) for side in SETS[kind])
        part = random.uniform(0.7, 1.0) * min(image.width / width, image.height / height)
        left, top = random.uniform(0, image.width - part * width), random.uniform(0, image.height - part * height)
        box = (left, top, left + part * width, top + part * height)
        made = image.resize((width, height), PIL.Image.Resampling.BICUBIC, box)
        # Enlarged photographs are too smooth; a camera's noise gives them the number of bytes per pixel that photographs have.
        noise = random.normal(0, 6, (height, width, 1))
        made = PIL.Image.fromarray((numpy.asarray(made) + noise).round().clip(0, 255).astype(numpy.uint8))
        path = folder / f"class-{number % 10}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(path, "JPEG", quality=90)


def torchvision_epochs(folder: Path, batch: int, workers: int) -> Iterator[Iterable[Any]]:
    """Epochs of torchvision's reference training (references/classification: `ClassificationPresetTrain`, backend PIL)."""
    import torch
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE, antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize(MEAN, STD),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(str(folder), transform),
        batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    while True:
        yield ((images, labels) for images, labels in loader)


def our_epochs(folder: Path, batch: int, workers: int, loading: Any, cache: Path) -> Iterator[Iterable[Any]]:
    """Epochs of ours, with the same changes."""
    import numpy
    import torch

    from resnets.data.augmentation import batch as augmentation
    from resnets.data.augmentation.crops import ResizedCrop
    from resnets.data.decoding.preprocessing import Preprocessing
    from resnets.data.image_source import ImageFiles
    from resnets.data.loaders.image_loader import open_image_loader
    from resnets.data.sampling.order import EpochOrder

    files = sorted(folder.glob("*/*.jpg"))
    classes = tuple(sorted({file.parent.name for file in files}))
    labels = numpy.array([classes.index(file.parent.name) for file in files])
    source = ImageFiles("photographs", "train", folder, tuple(str(file.relative_to(folder)) for file in files), labels, classes)
    loader = open_image_loader(
        source,
        Preprocessing(size=SIZE, resize=256, mean=MEAN, std=STD),
        lambda count: EpochOrder(count, batch, seed=0),
        loading=loading,
        crop=ResizedCrop(kind="area"),
        augment=(
            lambda images, indices, epoch, draws: augmentation.random_horizontal_flip(images, draws),
            lambda images, draws: images,
        ),
        workers=workers,
        cache_folder=cache,
        device=torch.device("cpu"),
        report=lambda message: print(message, file=sys.stderr),
    )
    for epoch in itertools.count():
        yield ((made.images, made.labels) for made in loader.epoch(epoch))


class Memory(threading.Thread):
    """Watches the memory of this process and its children: the largest sum of their proportional shares (PSS), in which a page
    that several have counts once. Looking costs time, so it ends before anything is timed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.stopped = 0, threading.Event()

    def run(self) -> None:
        import psutil

        this = psutil.Process()
        while not self.stopped.wait(0.25):
            total = 0
            for process in [this, *this.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue  # it has just ended
            self.peak = max(self.peak, total)


def processor_seconds() -> float:
    """Time that this process and its children have spent computing, which other programs on the machine hardly change."""
    import psutil

    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [this, *this.children(recursive=True)])


def measure(engine: str, folder: Path, batch: int, workers: int, epochs: int, cache: Path) -> dict[str, Any]:
    """Times `epochs` epochs of one engine, after an untimed one."""
    import torch

    torch.set_num_threads(workers)
    memory = Memory()
    memory.start()
    begun = time.perf_counter()
    if engine == "torchvision":
        all_epochs = torchvision_epochs(folder, batch, workers)
    else:
        all_epochs = our_epochs(folder, batch, workers, engine, cache)
    for images, labels in next(all_epochs):
        assert images.shape[1:] == (3, SIZE, SIZE)
        assert images.dtype == torch.float32
        assert len(labels) == batch
    first = time.perf_counter() - begun
    memory.stopped.set()
    memory.join()
    before = processor_seconds()
    speeds, num_images = [], 0
    for _ in range(epochs):
        started, count = time.perf_counter(), 0
        for images, _ in next(all_epochs):
            count += len(images)
        speeds.append(count / (time.perf_counter() - started))
        num_images += count
    processor = processor_seconds() - before
    return {
        "images_per_second": statistics.median(speeds),
        "epochs": speeds,
        "processor_milliseconds": 1000 * processor / num_images,
        "first_epoch_seconds": first,
        "peak_memory_bytes": memory.peak,
    }


def in_own_process(engine: str, folder: Path, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same, in a fresh process."""
    command = [sys.executable, __file__, "--engine", engine, "--folder", str(folder), "--cache", str(cache)]
    for name in ("batch", "workers", "epochs"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr}")
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def compare(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds over one set of files."""
    rounds = []
    order = list(ENGINES)
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(options.rounds):
            turned = order[turn % len(order) :] + order[: turn % len(order)]
            measured = {engine: in_own_process(engine, folder, Path(cache), options) for engine in turned}
            speed = measured["torchvision"]["images_per_second"]
            ratio = {engine: measured[engine]["images_per_second"] / speed for engine in ENGINES[1:]}
            rounds.append({"ratio": ratio, **measured})
            print(json.dumps({"files": kind, "torchvision": speed, "ratio": ratio}), file=sys.stderr, flush=True)
    files = [file.stat().st_size for file in folder.glob("*/*.jpg")]
    return {
        "files": {"count": len(files), "mean_bytes": round(statistics.mean(files)), "about": SETS[kind]},
        "summary": {
            engine: {
                "images_per_second": statistics.median(r[engine]["images_per_second"] for r in rounds),
                "ratio": statistics.median(r["ratio"][engine] for r in rounds) if engine != "torchvision" else 1.0,
                "peak_memory_bytes": max(r[engine]["peak_memory_bytes"] for r in rounds),
            }
            for engine in ENGINES
        },
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--images", type=int, default=2048, help="files of each set (phone: a quarter)")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs of each engine in a round")
    parser.add_argument("--engine", choices=ENGINES, help="time this one only, on --folder")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    if options.engine:
        keep_large_buffers()
        print(json.dumps(measure(options.engine, options.folder, options.batch, options.workers, options.epochs, options.cache)))
        return

    from records import write_record

    os.environ["OMP_NUM_THREADS"] = str(options.workers)
    rows = {}
    for kind in options.sets:
        with tempfile.TemporaryDirectory() as folder:
            make_files(Path(folder), kind, options.images // (4 if kind == "phone" else 1))
            rows[kind] = compare(kind, Path(folder), options)
    about = (
        "ratio: our images/s over those of torchvision's ImageFolder, reference transforms and torch's DataLoader in the same round, "
        "median over rounds; memory: largest sum of the proportional shares (PSS) of the process and its workers"
    )
    settings = {key: getattr(options, key) for key in ("batch", "workers", "rounds", "epochs")}
    print(write_record("loading-cpu", {"about": about, "settings": settings, "sets": rows}))


if __name__ == "__main__":
    main()
