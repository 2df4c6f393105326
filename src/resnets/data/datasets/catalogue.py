"""The datasets by name: what is known about each one, and its images and labels as tensors.

Legend: N images, C channels, H W height and width in pixels. Importing this module loads neither torch nor numpy.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ..sources.files import DIGITS_NAME, FILES, find
from ..sources.request import Report, known_name, print_to_stderr
from .locate import locate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SPLITS = ("train", "test")
DIGITS_SEED = 1998
"""Of the fixed split of the digits, which have none of their own: the year of their paper."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a dataset without reading it."""

    name: str
    title: str
    num_train: int
    num_test: int
    classes: tuple[str, ...]
    """Names, by label."""
    channels: int
    size: int
    """Height and width in pixels."""
    mean: tuple[float, ...]
    """Of each channel over the train split, pixels in [0, 1]."""
    std: tuple[float, ...]
    """Of each channel over all pixels of the train split, in the same unit."""
    horizontal_flip: bool
    """Whether a mirrored image keeps its class."""
    licence: str
    url: str
    citation: str


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """The images and labels of one split, in memory.

    Raises:
        ValueError: the tensors are not of the kinds below, or a label has no class.
    """

    name: str
    """The dataset's."""
    split: str
    images: Tensor
    """(N, C, H, W), uint8."""
    labels: Tensor
    """(N,), int64, each an index of `classes`."""
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """As in `DatasetInfo`."""
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        import torch

        what = f"{self.name} ({self.split})"
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise UserError(f"{what}: images must be uint8 (N, C, H, W), not {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise UserError(
                f"{what}: labels must be int64, one for each of {len(self.images)} images, "
                f"not {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise UserError(
                f"{what}: labels must be in 0 to {len(self.classes) - 1}, the classes, "
                f"but reach from {int(self.labels.min())} to {int(self.labels.max())}"
            )

    def __len__(self) -> int:
        """N."""
        return len(self.images)


_CIFAR_100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can "
    "castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin "
    "elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster "
    "man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck "
    "pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk "
    "skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger "
    "tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="fashion-mnist",
            title="Fashion-MNIST: images of articles of clothing",
            num_train=60_000,
            num_test=10_000,
            classes=(
                "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
            ),
            channels=1,
            size=28,
            mean=(0.286041,),
            std=(0.353024,),
            horizontal_flip=True,
            licence="MIT",
            url="https://github.com/zalandoresearch/fashion-mnist",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
            "Algorithms, arXiv:1708.07747, 2017",
        ),
        DatasetInfo(
            name="digits",
            title="Optical recognition of handwritten digits, 8 x 8 pixels",
            num_train=1_437,
            num_test=360,
            classes=tuple("0123456789"),
            channels=1,
            size=8,
            mean=(0.305058,),
            std=(0.375762,),
            horizontal_flip=False,
            licence="CC BY 4.0",
            url="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation="E. Alpaydin, C. Kaynak, Cascading Classifiers, Kybernetika 34(4), 369-374, 1998",
        ),
        # The publisher states no means and deviations; these are in general use, to four digits as published
        # with many training scripts, and not computed here.
        DatasetInfo(
            name="cifar10",
            title="CIFAR-10: photographs of ten kinds of things, 32 x 32 pixels",
            num_train=50_000,
            num_test=10_000,
            classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            channels=3,
            size=32,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            horizontal_flip=True,
            licence="none stated",
            url="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
        ),
        DatasetInfo(
            name="cifar100",
            title="CIFAR-100: photographs of a hundred kinds of things, 32 x 32 pixels",
            num_train=50_000,
            num_test=10_000,
            classes=tuple(_CIFAR_100.split()),
            channels=3,
            size=32,
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            horizontal_flip=True,
            licence="none stated",
            url="https://www.cs.toronto.edu/~kriz/cifar.html",
            citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, 2009",
        ),
    )
}  # fmt: skip
"""By name."""


def load(
    name: str, split: str, folder: Path | str | None = None, *, offline: bool | None = None, report: Report = print_to_stderr
) -> ImageArrays:
    """One split of a dataset, its files fetched and verified first if need be (see `sources.locate`).

    Args:
        name: a key of `DATASETS`.
        split: "train" or "test", as published; for the digits, which were not published in two parts of this kind, a fixed
            stratified split of theirs (see the README beside them).
        folder: as for `sources.locate`.
        offline: as for `sources.locate`.
        report: as for `sources.locate`.

    Raises:
        ValueError: there is no such dataset or split.
        DataError: the files cannot be had, or are wrong.
    """
    import torch

    from .cifar import ARCHIVES, read_cifar

    info = DATASETS[known_name(name, DATASETS)]
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r} of {name}: it is one of {', '.join(SPLITS)}")
    place = locate(name, folder, offline=offline, report=report)
    if name == "digits":
        images, labels = _read_digits(place, split)
    elif name in ARCHIVES:
        images, labels = read_cifar(place, name, split, info.classes)
    else:
        images, labels = _read_idx_split(place, name, split)
    shaped = images if images.ndim == 4 else images[:, None]
    return ImageArrays(name, split, torch.from_numpy(shaped), torch.from_numpy(labels), info.classes, info.mean, info.std)


def split_holdout(arrays: ImageArrays, share: float, seed: int) -> tuple[ImageArrays, ImageArrays]:
    """Hold out a part of a split, for choosing hyperparameters without the test set: (rest, held out).

    The part has round(share * N) images, stratified: each class has its share of them, up to one image. It depends on
    the labels, the share and the seed alone, on every machine. Both parts keep the order of `arrays`.

    Raises:
        ValueError: the share is not between 0 and 1 or leaves one part empty, or the seed is negative.
    """
    import torch

    num_held = round(share * len(arrays)) if 0 < share < 1 else 0
    if not 0 < num_held < len(arrays):
        raise UserError(f"share={share} of {len(arrays)} images leaves one part empty; choose one between 0 and 1")
    parts = zip(("rest", "holdout"), stratified_split(arrays.labels.cpu().numpy(), num_held, seed), strict=True)
    rest, held = (_subset(arrays, f"{arrays.split}-{part}", torch.from_numpy(indices)) for part, indices in parts)
    return rest, held


def stratified_split(labels: NDArray[np.int64], num_held: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (rest, held), each ascending, int64, with `num_held` of them held and each class in both by its share.

    Raises:
        ValueError: the seed is negative.
    """
    import numpy as np

    if seed < 0:
        raise UserError(f"seed={seed} is negative; choose 0 or more")
    # The raw numbers of PCG64 are the same in every version of NumPy; those of Generator.permutation need not be (NEP 19).
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    classes, counts = np.unique(labels, return_counts=True)
    # Each class gets its exact share rounded down, and what is left goes to the largest remainders.
    quotas, remainders = np.divmod(counts * num_held, len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: num_held - quotas.sum()]] += 1
    held = np.zeros(len(labels), bool)
    for label, quota in zip(classes, quotas, strict=True):
        held[order[labels[order] == label][:quota]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _subset(arrays: ImageArrays, split: str, indices: Tensor) -> ImageArrays:
    device = arrays.images.device
    images, labels = arrays.images[indices.to(device)], arrays.labels[indices.to(arrays.labels.device)]
    return ImageArrays(arrays.name, split, images, labels, arrays.classes, arrays.mean, arrays.std)


def _read_idx_split(folder: Path, name: str, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, H, W) and labels (N,) of a dataset of four IDX files, which are verified already."""
    import numpy as np

    from ..sources.idx import read_idx

    first = 2 * SPLITS.index(split)
    paths = [find(folder, file) for file in FILES[name][first : first + 2]]
    images, labels = (read_idx(path) for path in paths if path is not None)
    return images, labels.astype(np.int64)


def _read_digits(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 8, 8), their values 0 to 16 stretched to 0 to 255, and labels (N,)."""
    import numpy as np

    with gzip.open(folder / DIGITS_NAME, "rt", encoding="ascii") as stream:
        table = np.array(stream.read().replace("\n", ",").rstrip(",").split(","), np.int64).reshape(-1, 65)
    parts = stratified_split(table[:, -1], DATASETS["digits"].num_test, DIGITS_SEED)
    rows = table[parts[SPLITS.index(split)]]
    # 255 / 16 of each value, rounded; a half occurs only at 8 (127.5) and goes up to the even 128.
    pixels = ((rows[:, :-1] * 255 + 8) // 16).astype(np.uint8)
    return pixels.reshape(-1, 8, 8), rows[:, -1].copy()
