"""Sizes of images: hand arithmetic, and shapes that would fill the memory once they are resized."""

from __future__ import annotations

import io
from pathlib import Path

import PIL.Image
import pytest
import torch

import resnets
from resnets.cli import main
from resnets.data.decoding import decode, preprocessing
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.decoding.sides import at_shorter_side
from resnets.data.errors import Unreadable
from resnets.deployment.prediction.reading import seen
from resnets.weights.model_file import ModelDescription, save_model


@pytest.mark.parametrize(
    ("size", "length", "expected"),
    [((300, 400), 256, (256, 341)), ((401, 100), 50, (200, 50)), ((7, 7), 1, (1, 1)), ((30, 40), None, (30, 40))],
)
def test_sides(size: tuple[int, int], length: int | None, expected: tuple[int, int]) -> None:
    assert at_shorter_side(*size, length) == expected


def test_a_line_of_pixels_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(
        Unreadable, match=r"has 1 x 40,000,000 pixels.* at 256 it would have 2,621,440,000,000, more than 178,956,970"
    ):
        at_shorter_side(1, 40_000_000, 256)
    assert at_shorter_side(1, 2000, 256) == (256, 512_000)  # long, and still an image


def line(folder: Path) -> Path:
    PIL.Image.new("1", (4_000_000, 1)).save(path := folder / "line.png")
    return path


def test_predict_says_so_and_reads_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = resnets.create_model("cifar-resnet8", num_classes=2)
    description = ModelDescription(network.spec, ("a", "b"), Preprocessing(size=32, resize=40))
    save_model(network, tmp_path / "m.safetensors", description)
    PIL.Image.new("RGB", (50, 40)).save(tmp_path / "good.png")
    assert main(["predict", str(tmp_path / "m.safetensors"), str(line(tmp_path)), str(tmp_path / "good.png")]) == 1
    shown = capsys.readouterr()
    assert "line.png" in shown.out + shown.err
    assert "1 x 4,000,000 pixels, too long a shape" in (shown.out + shown.err).replace("\n", " ")
    assert "good.png" in shown.out


@pytest.mark.parametrize("resize", [None, 24])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_large_images_are_resized_a_channel_at_a_time_to_the_same(
    monkeypatch: pytest.MonkeyPatch, resize: int | None, interpolation: str
) -> None:
    images = torch.randint(256, (2, 3, 61, 47), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given = Preprocessing(size=16, resize=resize, interpolation=interpolation)  # type: ignore[arg-type]
    whole = given.resized(images)
    monkeypatch.setattr(preprocessing, "_LARGE", 100)
    assert torch.equal(given.resized(images), whole)


def test_want_of_memory_is_not_called_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*ignored: object) -> None:
        raise MemoryError

    made = io.BytesIO()
    PIL.Image.new("RGBA", (40, 30)).save(made, "png")
    monkeypatch.setattr(decode, "flattened", full)
    with pytest.raises(Unreadable, match=r"^30 x 40 pixels, more than the free memory takes; make it smaller first$"):
        seen(made.getvalue(), Preprocessing(size=16))
