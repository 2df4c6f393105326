"""Images with masks: windows as torchvision's transforms cut them, the same batches however they are made, whole images in order."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import Image, Mask

from resnets.data.annotated.mask_crop import MaskCrop, Window, at_shorter_side
from resnets.data.annotated.mask_loader import MaskBatch, MaskLoader
from resnets.data.annotated.mask_rows import CutWindows, MaskedImages, cut, nearest
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.errors import DataError
from resnets.data.sampling.order import EpochOrder, Share
from resnets.data.workers.processes import processes_work

SEEN = Preprocessing(size=24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
CROP = MaskCrop(size=24, base_size=30, paste=0.5)
SIZES = ((30, 40), (50, 24), (20, 20), (33, 77), (24, 31))
ALONE = Share()
forking = pytest.mark.skipif(not processes_work(), reason="worker processes are forked, which is safe on Linux only")


def make_image(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Soft colours, and a mask of a few areas with an ignored line."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (4 + k) + seed) * np.cos(columns / (7 - k)) for k in range(3)]
    mask = ((rows // 7 + columns // 9 + seed) % 3).astype(np.uint8)
    mask[height // 2] = 255
    return (np.stack(waves, -1) * 100 + 128).astype(np.uint8), mask


@dataclass
class Shapes:
    """Annotated images in memory."""

    count: int = 20
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    broken: tuple[int, ...] = ()
    name: str = "shapes"
    split: str = "train"
    classes: tuple[str, ...] = ("square", "disc")

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> bytes:
        buffer = io.BytesIO()
        PIL.Image.fromarray(make_image(*self.size_of(index), index)[0]).save(buffer, "PNG")
        return buffer.getvalue()[: 40 if index in self.broken else None]

    def mask(self, index: int) -> np.ndarray:
        return self.masks.get(index, make_image(*self.size_of(index), index)[1])

    def size_of(self, index: int) -> tuple[int, int]:
        return SIZES[index % len(SIZES)]

    def name_of(self, index: int) -> str:
        return f"{index:03}.png"

    def objects(self, index: int) -> Any:
        raise AssertionError("masks say it all")


def loader(shapes: Shapes, share: Share = ALONE, **options: Any) -> MaskLoader:
    settings: dict[str, Any] = {
        "crop": CROP,
        "workers": 0,
        "memory": False,
        "device": torch.device("cpu"),
        "report": lambda line: None,
    }
    return MaskLoader(shapes, SEEN, lambda count: EpochOrder(count, 4, seed=3, share=share), **{**settings, **options})  # type: ignore[arg-type]


def same(first: Iterator[MaskBatch], second: Iterator[MaskBatch]) -> bool:
    return all(
        torch.equal(a.images, b.images)
        and torch.equal(a.masks, b.masks)
        and torch.equal(a.indices, b.indices)
        and a.total == b.total
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(
    ("height", "width", "numbers"),
    [
        (30, 40, (0.0, 0.5, 0.9, 0.7)),
        (30, 40, (0.99, 0.3, 0.6, 0.1)),
        (50, 24, (0.4, 0.999, 0.0, 0.2)),
        (20, 20, (0.2, 0.1, 0.8, 0.9)),
    ],
)
def test_a_window_is_what_torchvisions_transforms_make_of_it(height: int, width: int, numbers: tuple[float, ...]) -> None:
    pixels, mask = make_image(height, width, 1)
    window = CROP.window(height, width, numbers)
    out, out_mask = np.zeros((24, 24, 3), np.uint8), np.zeros((24, 24), np.uint8)
    cut(pixels, mask, window, np.array((9, 8, 7), np.uint8), out, out_mask)

    # torchvision: the same operations one after the other, with fill values by kind.
    pair = Image(torch.from_numpy(pixels).permute(2, 0, 1)), Mask(torch.from_numpy(mask))
    size = [window.height, window.width]
    resized = (
        functional.resize(pair[0], size, antialias=True),
        functional.resize(pair[1], size, interpolation=v2.InterpolationMode.NEAREST_EXACT),
    )
    padding = [0, 0, max(0, 24 - window.width), max(0, 24 - window.height)]
    padded = functional.pad(resized[0], padding, fill=[9, 8, 7]), functional.pad(resized[1], padding, fill=255)
    expected = [functional.crop(part, window.top, window.left, 24, 24) for part in padded]
    if window.mirrored:
        expected = [functional.horizontal_flip(part) for part in expected]
    assert np.array_equal(out, expected[0].permute(1, 2, 0).numpy())
    assert np.array_equal(out_mask, expected[1].numpy())


def test_windows_by_hand() -> None:
    crop = MaskCrop(size=100, base_size=80, scale=(0.5, 2.0))
    assert crop.window(60, 90, (0.0, 0.5, 0.5, 0.5)) == Window(40, 60, 0, 0, False)  # the shorter side 40; nothing to choose
    assert crop.window(60, 90, (0.9999, 0.5, 0.999, 0.49)) == Window(160, 240, 30, 140, True)  # 61 and 141 places
    assert MaskCrop(size=10, base_size=None, scale=(1, 1), flip=False).window(60, 90, (0.7, 0, 0, 0)) == Window(60, 90, 0, 0, False)
    assert [at_shorter_side(60, 91, length) for length in (None, 30, 100)] == [(60, 91), (30, 45), (100, 151)]
    with pytest.raises(ValueError, match=r"scale=\(2.0, 0.5\) is no range"):
        MaskCrop(scale=(2.0, 0.5))


def test_all_scales_places_and_sides_come() -> None:
    numbers = torch.rand(2000, MaskCrop.NUMBERS, generator=torch.Generator().manual_seed(0)).double().tolist()
    windows = [MaskCrop(size=24, base_size=30).window(30, 40, row) for row in numbers]
    assert {window.height for window in windows} == set(range(15, 61))
    assert sum(window.mirrored for window in windows) / 2000 == pytest.approx(0.5, abs=0.03)
    assert all(window.top + 24 <= max(window.height, 24) and window.left + 24 <= max(window.width, 24) for window in windows)
    assert {window.top for window in windows if window.height == 60} <= set(range(37))
    assert max(window.left for window in windows) > 50


def test_nearest_pixels_are_torchs() -> None:
    for length, target in ((7, 7), (7, 20), (20, 7), (375, 480), (500, 260)):
        line = torch.arange(float(length)).view(1, 1, length)
        expected = torch.nn.functional.interpolate(line, target, mode="nearest-exact").view(-1).long()
        assert nearest(length, target).tolist() == expected.tolist()


def test_padding_is_the_mean_and_ignored() -> None:
    made = loader(Shapes(5), crop=MaskCrop(size=100, base_size=20, scale=(1, 1), flip=False))
    (batch,) = made.epoch(0)
    for images, masks in zip(batch.images, batch.masks, strict=True):
        assert bool((masks[60:] == 255).all() and (masks[:, 90:] == 255).all())
        assert float(images[:, 60:].abs().max()) < 0.011  # a mean rounded to whole levels
        assert set(masks[:20, :20].unique().tolist()) <= {0, 1, 2, 255}
    assert batch.images.dtype == torch.float32
    assert batch.masks.dtype == torch.int64


def test_objects_of_another_image_are_laid_over() -> None:
    fill, numbers = (7, 8, 9), torch.rand(MaskCrop.ROW_NUMBERS, generator=torch.Generator().manual_seed(3)).tolist()
    numbers[4:6] = 0.4, 0.65  # below 0.5; and 13 of 20
    source = MaskedImages(Shapes(), 3)

    def made(crop: MaskCrop, index: int, row: list[float], source: MaskedImages = source) -> tuple[np.ndarray, np.ndarray]:
        out = np.zeros(CutWindows(source, crop, fill).capacity, np.uint8)
        CutWindows(source, crop, fill).make(index, row, out)
        return out[:-576].reshape(24, 24, 3), out[-576:].reshape(24, 24)

    alone = CROP.model_copy(update={"paste": 0.0})
    pixels, mask = made(CROP, 2, numbers)
    own, own_mask = made(alone, 2, numbers)
    other, other_mask = made(alone, 13, [*numbers[6:], *numbers[:6]])
    objects = (other_mask == 1) | (other_mask == 2)
    assert 0 < objects.sum() < 576
    np.testing.assert_array_equal(mask, np.where(objects, other_mask, own_mask))
    np.testing.assert_array_equal(pixels, np.where(objects[..., None], other, own))
    for row, images in (([*numbers[:4], 0.6, *numbers[5:]], source), (numbers, MaskedImages(Shapes(broken=(13,)), 3))):
        pixels, mask = made(CROP, 2, row, images)
        np.testing.assert_array_equal(mask, own_mask)
        np.testing.assert_array_equal(pixels, own)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("workers", [pytest.param(2, marks=forking)])
def test_neither_workers_nor_memory_change_a_batch(memory: bool, workers: int) -> None:
    alone, several = loader(Shapes()), loader(Shapes(), memory=memory, workers=workers)
    assert same(alone.epoch(1), several.epoch(1))
    assert not same(alone.epoch(0), alone.epoch(1))
    for (a, mask, place), (b, other, there) in zip(alone.in_order(), several.in_order(), strict=True):
        assert place == there
        assert torch.equal(a, b)
        assert torch.equal(mask, other)
    several.close()


def test_images_that_are_always_resized_alike_are_kept_at_that_size() -> None:
    crop = MaskCrop(size=24, base_size=30, scale=(1, 1), paste=0.5)
    streamed, kept = (loader(Shapes(), crop=crop, memory=memory) for memory in (False, True))
    assert same(streamed.epoch(0), kept.epoch(0))
    assert {min(kept.whole.source.load(index)[1].shape) for index in range(20)} == {30}
    varied = loader(Shapes(), crop=CROP, memory=True)
    assert [varied.whole.source.load(index)[1].shape for index in range(5)] == list(SIZES)


def test_an_epoch_goes_on_in_its_middle() -> None:
    made = loader(Shapes())
    whole = list(made.epoch(2))
    early = made.epoch(0)
    next(early)
    early.close()  # type: ignore[attr-defined]
    assert [batch.total for batch in whole] == [4] * 5
    assert same(iter(whole[3:]), made.epoch(2, first_step=3))


def test_two_processes_make_the_batches_of_one() -> None:
    parts = [list(loader(Shapes(), Share(rank, 2)).epoch(1)) for rank in (0, 1)]
    for batch, *halves in zip(loader(Shapes()).epoch(1), *parts, strict=True):
        assert torch.equal(batch.images, torch.cat([half.images for half in halves]))
        assert torch.equal(batch.masks, torch.cat([half.masks for half in halves]))
        assert [half.total for half in halves] == [4, 4]
    places = [[place for _, _, place in loader(Shapes(), Share(rank, 2)).in_order()] for rank in (0, 1)]
    assert places == [list(range(10)), list(range(10, 20))]


@pytest.mark.parametrize("size", [None, 36])
def test_whole_images_in_order(size: int | None) -> None:
    shapes = Shapes(5)
    for (image, mask, place), expected in zip(loader(shapes, crop=None, size=size).in_order(), range(5), strict=True):
        assert place == expected
        pixels, classes = make_image(*SIZES[place], place)
        assert torch.equal(mask, torch.from_numpy(classes).long()[None])
        shape = at_shorter_side(*SIZES[place], size)
        assert image.shape == (1, 3, *shape)
        wanted = functional.resize(torch.from_numpy(pixels).permute(2, 0, 1), list(shape), antialias=True)
        normalized = functional.normalize(wanted.float() / 255, list(SEEN.mean), list(SEEN.std))
        torch.testing.assert_close(image[0], normalized, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory", [False, True])
def test_unusable_images_are_named_and_left_out(memory: bool) -> None:
    wrong, small = np.full(SIZES[2], 7, np.uint8), np.zeros((3, 4), np.uint8)
    shapes, said = Shapes(broken=(1,), masks={2: wrong, 3: small}), []
    made = loader(shapes, memory=memory, max_unreadable=0.2, report=said.append)
    places = [place for _, _, place in made.in_order()]
    assert [made.name_of(place) for place in places] == [f"{i:03}.png" for i in range(20) if i not in (1, 2, 3)]
    assert len(made) == (17 if memory else 20)
    counts = [(len(batch.images), len(batch.masks), len(batch.indices), batch.total) for batch in made.epoch(0)]
    assert sum(count for count, *_ in counts) == (16 if memory else 17)  # the last batch of an epoch is left out if it is smaller
    assert all(count == masks == indices <= total == 4 for count, masks, indices, total in counts)
    lines = [line for line in said if "is left out" in line]
    assert len(lines) == 3
    assert "shapes train: 001.png is left out, is no image in a known format" in lines[0]
    assert "002.png is left out, has a mask with the value 7, but there are 2 classes" in lines[1]
    assert "003.png is left out, is 33 x 77 pixels high and wide, but its mask 3 x 4" in lines[2]


def test_masks_of_the_file_as_it_is_stored_fit_images_that_exif_turns() -> None:
    class Turned(Shapes):
        def read(self, index: int) -> bytes:
            image = PIL.Image.fromarray(make_image(*self.size_of(index), index)[0])
            image.getexif()[0x0112] = 6
            buffer = io.BytesIO()
            image.save(buffer, "PNG", exif=image.getexif())
            return buffer.getvalue()

    stored, turned = (MaskedImages(kind(1), 3).load(0) for kind in (Shapes, Turned))  # type: ignore[arg-type]
    assert np.array_equal(stored[0], turned[0])
    assert np.array_equal(stored[1], turned[1])
    shown = Turned(1, masks={0: np.rot90(stored[1], -1)})  # a mask of the image as viewers show it
    pixels, mask = MaskedImages(shown, 3).load(0)  # type: ignore[arg-type]
    assert np.array_equal(pixels, np.rot90(stored[0], -1))
    assert np.array_equal(mask, np.rot90(stored[1], -1))


def test_too_many_of_them_are_an_error() -> None:
    class Boxes(Shapes):
        def mask(self, index: int) -> np.ndarray:
            raise ValueError("shapes has boxes and no masks")

    with pytest.raises(
        DataError, match=r"more of them than max_unreadable=0.05 .* 000.png has no mask .*: shapes has boxes and no masks"
    ):
        loader(Boxes(), memory=True)
    with pytest.raises(DataError, match="more of them than"):
        next(loader(Boxes()).epoch(0))
    with pytest.raises(DataError, match="the order is of 7 images, but shapes train has 20"):
        MaskLoader(Shapes(), SEEN, EpochOrder(7, 2, seed=0), device=torch.device("cpu"), report=lambda line: None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="was made to evaluate"):
        next(loader(Shapes(), crop=None).epoch(0))


def test_memory_is_taken_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    needed = sum(height * width * 4 for height, width in SIZES) * 4
    for free, kept in ((needed * 4, "in memory"), (needed * 4 - 4, "decoded as they come")):
        monkeypatch.setattr("resnets.data.annotated.mask_loader.free_memory", lambda free=free: free)
        loader(Shapes(), memory="auto", report=said.append)
        assert said.pop() == f"shapes train: 20 images with masks, {kept}"


def test_grey_images() -> None:
    grey = Preprocessing(size=24, channels=1, mean=(0.5,), std=(0.2,))
    made = MaskLoader(
        replace(Shapes(), count=8), grey, lambda count: EpochOrder(count, 4, seed=0), crop=CROP, workers=0, device=torch.device("cpu"),
        report=lambda line: None,
    )  # type: ignore[arg-type]  # fmt: skip
    assert next(made.epoch(0)).images.shape == (4, 1, 24, 24)
    assert next(made.in_order())[0].shape == (1, 1, 30, 40)
