"""Loading images: the same batches however they are made, and training goes on beside bad files and dying workers."""

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from image_files import image_files

from resnets.data.augmentation import batch as augmentation
from resnets.data.augmentation.crops import ResizedCrop
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.errors import DataError
from resnets.data.image_source import ImageFiles
from resnets.data.loaders.image_loader import ImageLoader, open_image_loader
from resnets.data.loaders.protocol import Batch
from resnets.data.loaders.rows import FromSource
from resnets.data.sampling.order import EpochOrder, Share
from resnets.data.workers.processes import ProcessProducer, processes_work

SEEN = Preprocessing(size=32, resize=36, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
AREA, ALONE = ResizedCrop(kind="area"), Share()
forking = pytest.mark.skipif(not processes_work(), reason="worker processes are forked, which is safe on Linux only")


def loader(source: ImageFiles, reports: list[str], share: Share = ALONE, **options: Any) -> ImageLoader:
    settings: dict[str, Any] = {"loading": "stream", "crop": AREA, "workers": 0, "device": torch.device("cpu"), **options}
    return open_image_loader(
        source, SEEN, lambda count: EpochOrder(count, 8, seed=3, share=share), report=reports.append, **settings
    )


def same(first: list[Batch], second: list[Batch]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and torch.equal(a.indices, b.indices) for a, b in pairs
    )


@pytest.fixture
def source(tmp_path: Path) -> ImageFiles:
    return image_files(tmp_path / "images", 40)


@pytest.mark.parametrize("loading", ["stream", "memory", "disk"])
@pytest.mark.parametrize("crop", [AREA, None])
def test_no_number_of_workers_changes_a_batch(
    loading: str, crop: ResizedCrop | None, source: ImageFiles, reports: list[str]
) -> None:
    alone, several = (loader(source, reports, loading=loading, crop=crop, workers=workers) for workers in (0, 3))
    for epoch in (0, 1):
        batches = list(alone.epoch(epoch))
        assert [len(batch.images) for batch in batches] == [8] * 5
        assert same(batches, list(several.epoch(epoch)))
    assert not same(list(alone.epoch(0)), list(alone.epoch(1)))
    several.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle_and_can_be_left_early(workers: int, source: ImageFiles, reports: list[str]) -> None:
    made = loader(source, reports, workers=workers)
    whole = list(made.epoch(2))
    early = made.epoch(0)
    next(early)
    early.close()  # type: ignore[attr-defined]
    assert same(whole[3:], list(made.epoch(2, first_step=3)))
    made.close()
    assert same(whole, list(made.epoch(2)))
    made.close()


def test_two_processes_make_the_batches_of_one(source: ImageFiles, reports: list[str]) -> None:
    whole = list(loader(source, reports).epoch(1))
    parts = [list(loader(source, reports, Share(rank, 2)).epoch(1)) for rank in (0, 1)]
    for batch, *halves in zip(whole, *parts, strict=True):
        assert torch.equal(batch.images, torch.cat([half.images for half in halves]))
        assert [half.total for half in halves] == [8, 8]


def test_augmentation_sees_raw_and_normalised_images(source: ImageFiles, reports: list[str]) -> None:
    def before(images: torch.Tensor, indices: torch.Tensor, epoch: int, draws: object) -> torch.Tensor:
        assert images.dtype == torch.uint8
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert epoch == 4
        return images.flip(-1)

    made = list(loader(source, reports, augment=(before, lambda images, draws: images + 1)).epoch(4))
    plain = list(loader(source, reports, channels_last=False).epoch(4))
    for batch, other in zip(made, plain, strict=True):
        assert torch.equal(batch.images, other.images.flip(-1) + 1)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert other.images.is_contiguous()


@pytest.mark.parametrize("loading", ["stream", "memory", "disk"])
@pytest.mark.parametrize("crop", [AREA, None])
def test_evaluation_sees_what_prediction_does(
    loading: str, crop: ResizedCrop | None, source: ImageFiles, reports: list[str]
) -> None:
    """To half a level, to which stored pixels are rounded; from every place the same."""
    made = loader(source, reports, loading=loading, crop=crop, workers=2)
    batches = list(made.in_order())
    assert [len(images) for images, _ in batches] == [8] * 5
    assert torch.cat([labels for _, labels in batches]).tolist() == source.labels.tolist()
    expected = torch.cat([SEEN.image(PIL.Image.open(source.root / path)) for path in source.paths])
    scale = torch.tensor(SEEN.std).view(3, 1, 1) * 255
    difference = (torch.cat([images for images, _ in batches]) - expected) * scale
    assert float(difference.abs().max()) <= 0.51
    made.close()


def test_crops_are_torchvisions_of_the_same_box(source: ImageFiles) -> None:
    from torchvision.transforms.v2 import functional

    numbers = torch.rand(40, ResizedCrop.NUMBERS, generator=torch.Generator().manual_seed(0)).double().tolist()
    row_reader = FromSource(source, SEEN, AREA)
    for index in range(3, 40, 4):  # the PNGs, which are decoded whole
        image = PIL.Image.open(source.root / source.paths[index])
        box = AREA.box(image.height, image.width, 32, numbers[index])
        expected = functional.resized_crop(
            functional.pil_to_tensor(image),
            int(box.top),
            int(box.left),
            int(box.height),
            int(box.width),
            [32, 32],
            antialias=True,
        )
        out = np.empty(32 * 32 * 3, np.uint8)
        assert row_reader.make(index, numbers[index], out) == (32, 32)
        assert int((torch.from_numpy(out.reshape(32, 32, 3)).permute(2, 0, 1).int() - expected.int()).abs().max()) <= 1


@pytest.mark.parametrize("loading", ["memory", "disk"])
def test_bad_files_are_named_and_left_out_before_training(loading: str, tmp_path: Path, reports: list[str]) -> None:
    source = image_files(tmp_path / "images", 40, broken=(4,), missing=(11,))
    made = loader(source, reports, loading=loading)
    assert [name for name, _ in made.excluded] == ["004.jpg", "011.png"]
    assert len(made) == made.order.count == 38
    assert made.names[4] == made.name_of(4) == "005.jpg"
    assert made.labels.tolist() == [i % 3 for i in range(40) if i not in (4, 11)]
    assert sum("004.jpg" in line and "011.png" in line for line in reports) == 1
    assert all(len(batch.images) == 8 for batch in made.epoch(0))
    with pytest.raises(DataError, match=r"max_unreadable=0.04.*004\.jpg.*raise --max-unreadable"):
        loader(source, reports, loading=loading, max_unreadable=0.04)
    with pytest.raises(DataError, match="order is of 40 images"):
        open_image_loader(
            source, SEEN, EpochOrder(40, 8, seed=0), loading="memory", workers=0, device=torch.device("cpu"), report=reports.append
        )


def test_auto_streams_where_the_cache_cannot_be_written(
    source: ImageFiles, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("resnets.data.loaders.storage.free_memory", lambda: 0)
    assert loader(source, reports, loading="auto").loading == "disk"
    (source.root / source.paths[0]).touch()
    monkeypatch.setattr(os, "fsync", full)
    assert loader(source, reports, loading="auto").loading == "stream"
    assert "No space left on device" in reports[-1]
    with pytest.raises(OSError, match="No space left on device"):
        loader(source, reports, loading="disk")


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_leave_their_rows_out_while_streaming(workers: int, tmp_path: Path, reports: list[str]) -> None:
    good, bad = image_files(tmp_path / "good", 40), image_files(tmp_path / "bad", 40, broken=(4,), missing=(11,))
    flip = (lambda images, indices, epoch, draws: augmentation.random_horizontal_flip(images, draws), lambda images, draws: images)
    made = loader(bad, reports, workers=workers, augment=flip)
    for epoch in (0, 1):
        for batch, whole in zip(made.epoch(epoch), loader(good, reports, augment=flip).epoch(epoch), strict=True):
            kept = ~torch.isin(whole.indices, torch.tensor([4, 11]))
            assert batch.total == 8
            assert len(batch.draws) == int(kept.sum())
            assert torch.equal(batch.indices, whole.indices[kept])
            assert torch.equal(batch.labels, whole.labels[kept])
            assert torch.equal(batch.images, whole.images[kept])
    assert sorted(name for name, _ in made.excluded) == ["004.jpg", "011.png"]
    assert sum("is left out" in line for line in reports) == 2
    assert sum(len(labels) for _, labels in made.in_order()) == 38
    made.close()


def test_more_bad_files_than_allowed_stop_training(tmp_path: Path, reports: list[str]) -> None:
    made = loader(image_files(tmp_path / "some", 40, broken=(1, 2, 3)), reports, max_unreadable=0.05)
    with pytest.raises(DataError, match=r"more of them than max_unreadable=0\.05"):
        list(made.epoch(0))
    gone = loader(image_files(tmp_path / "none", 40, missing=tuple(range(40))), reports, max_unreadable=1.0)
    with pytest.raises(DataError, match="none of the 8 images of a batch can be read"):
        list(gone.epoch(0))


def test_a_file_that_vanishes_during_training_is_left_out(source: ImageFiles, reports: list[str]) -> None:
    made = loader(source, reports, workers=2)
    assert sum(len(batch.images) for batch in made.epoch(0)) == 40
    (source.root / source.paths[9]).unlink()
    assert sum(len(batch.images) for batch in made.epoch(1)) == 39
    assert [name for name, _ in made.excluded] == ["009.jpg"]
    made.close()


def killing(batches: Iterator[Batch], producer: ProcessProducer, times: int) -> Iterator[Batch]:
    """Kills a worker before each of the first `times` batches."""
    for number, batch in enumerate(batches):
        if number < times:
            process = producer._workers[number % 2].process
            assert process.pid is not None
            with contextlib.suppress(ProcessLookupError):  # dead since the batch before, and not replaced yet
                os.kill(process.pid, signal.SIGKILL)
            process.join()
        yield batch


@forking
def test_a_killed_worker_is_replaced_and_batches_stay_the_same(source: ImageFiles, reports: list[str]) -> None:
    made = loader(source, reports, workers=2)
    assert isinstance(made.producer, ProcessProducer)
    expected = list(loader(source, reports).epoch(0))
    assert same(list(killing(made.epoch(0), made.producer, 1)), expected)
    assert same(list(made.epoch(0)), expected)
    assert sum("SIGKILL" in line for line in reports) == 1
    made.close()


@forking
def test_workers_that_die_again_and_again_are_an_error(tmp_path: Path, reports: list[str]) -> None:
    made = loader(image_files(tmp_path, 64), reports, workers=2)
    assert isinstance(made.producer, ProcessProducer)
    with pytest.raises(ChildProcessError, match=r"died 3 times.*SIGKILL.*--workers"):
        list(killing(made.epoch(0), made.producer, 5))
    assert len(list(made.epoch(0))) == 8  # which may be tried again
    made.close()


class Crashing(ImageFiles):
    """Kills whichever process reads a certain image."""

    def read(self, index: int) -> bytes:
        """The file's bytes, or the end."""
        if index == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)


@forking
def test_an_image_that_kills_its_decoder_is_named_and_left_out(source: ImageFiles, reports: list[str]) -> None:
    crashing = Crashing(source.name, source.split, source.root, source.paths, source.labels, source.classes)
    made = loader(crashing, reports, workers=2)
    expected = list(loader(source, reports).epoch(0))
    for batch, whole in zip(made.epoch(0), expected, strict=True):
        kept = whole.indices != 13
        assert torch.equal(batch.images, whole.images[kept])
    assert [name for name, _ in made.excluded] == ["013.jpg"]
    assert "SIGKILL" in made.excluded[0][1]
    assert sum(len(batch.images) for batch in made.epoch(1)) == 39
    made.close()


@forking
def test_a_defect_in_a_worker_is_shown(source: ImageFiles, reports: list[str]) -> None:
    made = loader(source, reports, workers=2, crop=ResizedCrop(kind="shorter-side", shorter_side=(16, 20)))
    with pytest.raises((ValueError, RuntimeError), match="below the network's 32 pixels"):
        list(made.epoch(0))
