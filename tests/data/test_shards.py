"""Streams of shards: which images come, in what order, by how many processes, and from where a resumed run goes on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.errors import DataError
from resnets.data.loaders.protocol import Batch
from resnets.data.sampling.order import Share

datasets = pytest.importorskip("datasets", reason="the extra datasets is not installed")

from resnets.data.datasets.shards import Shards, class_names, find_shards  # noqa: E402
from resnets.data.loaders.shard_loader import ShardLoader  # noqa: E402


@pytest.fixture(autouse=True)
def quiet_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bars, and no cache but this test's."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def encoded(number: int) -> bytes:
    """An image whose grey level is twice its number, exactly."""
    content = io.BytesIO()
    PIL.Image.fromarray(np.full((8, 8, 3), 2 * number, np.uint8)).save(content, "PNG")
    return content.getvalue()


def write_tars(folder: Path, prefix: str = "train", *, shards: int = 3, each: int = 8, broken: int | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{prefix}-{shard:03d}.tar", "w") as bundle:
            for number in range(shard * each, (shard + 1) * each):
                image = b"no image" if number == broken else encoded(number)
                for ending, content in (("png", image), ("cls", str(number % 3).encode())):
                    info = tarfile.TarInfo(f"s{number:04d}.{ending}")
                    info.size = len(content)
                    bundle.addfile(info, io.BytesIO(content))
    return folder


def write_parquet(path: Path, numbers: range, names: list[str] | None) -> None:
    label = datasets.ClassLabel(names=names) if names else datasets.Value("string")
    labels = [n % 3 if names else f"kind {n % 3}" for n in numbers]
    table = {"image": [{"bytes": encoded(n), "path": None} for n in numbers], "label": labels}
    datasets.Dataset.from_dict(table, features=datasets.Features({"image": datasets.Image(), "label": label})).to_parquet(path)


ALONE = Share()


def open_loader(
    shards: Shards, *, share: Share = ALONE, batch_size: int = 5, report: object = None, **options: object
) -> ShardLoader:
    classes = class_names(shards, shards.labels())
    seen = Preprocessing(size=8)
    settings = {"seed": 7, "drop_last": False, "workers": 2, "device": torch.device("cpu"), "report": report or (lambda _: None)}
    return ShardLoader(shards, classes, seen, batch_size=batch_size, share=share, **{**settings, **options})  # type: ignore[arg-type]


def numbers(batch: Batch | tuple[torch.Tensor, torch.Tensor]) -> list[int]:
    """The numbers of the images in a batch; their labels have to be these."""
    images, labels = (batch.images, batch.labels) if isinstance(batch, Batch) else batch
    found = (images[:, 0, 0, 0] * 255 / 2).round().long()
    assert torch.equal(labels, found % 3)
    return found.tolist()


def flat(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def test_each_image_once_an_epoch_in_an_order_of_its_own(tmp_path: Path) -> None:
    loader = open_loader(find_shards(str(write_tars(tmp_path / "x")))["train"])
    assert (len(loader), loader.order.steps_in(0)) == (24, 5)
    epochs = [[numbers(batch) for batch in loader.epoch(epoch)] for epoch in (0, 1, 0)]
    assert [len(batch) for batch in epochs[0]] == [5, 5, 5, 5, 4]
    assert sorted(flat(epochs[0])) == sorted(flat(epochs[1])) == list(range(24))
    assert epochs[0] == epochs[2] != epochs[1]
    assert flat(epochs[0]) != list(range(24))
    assert flat(numbers(batch) for batch in loader.in_order()) == list(range(24))


def test_a_resumed_epoch_goes_on_exactly(tmp_path: Path) -> None:
    folder = str(write_tars(tmp_path / "x"))
    whole = [numbers(batch) for batch in open_loader(find_shards(folder)["train"]).epoch(2)]
    draws = [batch.draws.uniform(2) for batch in open_loader(find_shards(folder)["train"]).epoch(2)]
    rest = list(open_loader(find_shards(folder)["train"]).epoch(2, first_step=3))
    assert [numbers(batch) for batch in rest] == whole[3:]
    assert torch.equal(rest[0].draws.uniform(2), draws[3])


def test_rows_pass_through_a_buffer_smaller_than_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnets.data.datasets.shards.BUFFER", 4)
    loader = open_loader(find_shards(str(write_tars(tmp_path / "x", shards=5)))["train"])
    order = flat(numbers(batch) for batch in loader.epoch(0))
    assert sorted(order) == list(range(40))
    assert max(abs(place - number) for place, number in enumerate(order)) > 8  # whole shards change places too
    assert order != flat(numbers(batch) for batch in loader.epoch(1))


def test_processes_share_each_batch(tmp_path: Path) -> None:
    folder = str(write_tars(tmp_path / "x"))
    alone = [numbers(batch) for batch in open_loader(find_shards(folder)["train"]).epoch(1)]
    pair = [open_loader(find_shards(folder)["train"], share=Share(rank, 2)) for rank in range(2)]
    together = zip(*(loader.epoch(1) for loader in pair), strict=True)
    assert [numbers(first) + numbers(second) for first, second in together] == alone
    assert flat(numbers(batch) for loader in pair for batch in loader.in_order()) == list(range(24))


def test_parquet_and_its_splits(tmp_path: Path) -> None:
    names = ["zero", "one", "two"]
    (tmp_path / "data").mkdir(exist_ok=True)
    write_parquet(tmp_path / "data" / "train-0.parquet", range(12), names)
    write_parquet(tmp_path / "data" / "validation-0.parquet", range(20, 26), names)
    found = find_shards(str(tmp_path / "data"))
    assert set(found) == {"train", "val"}
    assert class_names(found["train"], found["train"].labels()) == tuple(names)
    assert flat(numbers(batch) for batch in open_loader(found["val"]).in_order()) == list(range(20, 26))
    write_parquet(tmp_path / "text.parquet", range(6), None)
    text = find_shards(str(tmp_path / "te*.parquet"))["train"]
    assert class_names(text, text.labels()) == ("kind 0", "kind 1", "kind 2")
    assert sorted(flat(numbers(batch) for batch in open_loader(text).epoch(0))) == list(range(6))


def test_a_part_held_out_by_content(tmp_path: Path) -> None:
    import dataclasses

    whole = find_shards(str(write_tars(tmp_path / "x", shards=4, each=30)))["train"]
    rest = dataclasses.replace(whole, share=0.25, seed=1)
    held = dataclasses.replace(rest, held=True)
    parts = [flat(numbers(batch) for batch in open_loader(part, batch_size=50).in_order()) for part in (rest, held)]
    assert sorted(parts[0] + parts[1]) == list(range(120))
    assert 18 < len(parts[1]) < 42
    assert sorted(flat(numbers(b) for b in open_loader(held, batch_size=9).epoch(3))) == parts[1]


def test_a_broken_image_is_left_out_and_named(tmp_path: Path) -> None:
    shards = find_shards(str(write_tars(tmp_path / "x", broken=11)))["train"]
    reports: list[str] = []
    loader = open_loader(shards, report=reports.append)
    batches = list(loader.epoch(0))
    assert sorted(flat(numbers(batch) for batch in batches)) == [n for n in range(24) if n != 11]
    assert sorted(batch.total for batch in batches) == [4, 5, 5, 5, 5]
    assert len(loader.excluded) == 1
    assert "s0011" in reports[0]
    with pytest.raises(DataError, match="max_unreadable"):
        list(open_loader(shards, max_unreadable=0.0).epoch(0))


def test_what_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there are no shards"):
        find_shards(str(tmp_path / "x-*.tar"))
    with pytest.raises(DataError, match="no name on the hub"):
        find_shards("hf:owner")
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    with pytest.raises(DataError, match="hf:owner/name is on the hub, and RESNETS_OFFLINE=1 forbids the network"):
        find_shards("hf:owner/name")
    write_tars(tmp_path / "only", "val")
    with pytest.raises(DataError, match="has no training images"):
        find_shards(str(tmp_path / "only"))
    datasets.Dataset.from_dict({"a": [1], "label": [2]}).to_parquet(tmp_path / "odd.parquet")
    with pytest.raises(DataError, match="has no column of images; it has a, label"):
        find_shards(str(tmp_path / "odd.parquet"))
