"""Preprocessing: one way from images to a network's input, for training, evaluation and prediction."""

import io
from pathlib import Path
from typing import Literal

import numpy
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2

from resnets.data.decoding.preprocessing import Preprocessing


def noise(height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (2, channels, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 96), (64, 48, 32), (20, 50, 20)])
def test_squeezing_is_torchvisions_resize(height: int, width: int, size: int) -> None:
    images = noise(height, width)
    expected = v2.functional.resize(images.float(), [size, size], antialias=True)
    torch.testing.assert_close(Preprocessing(size=size).resized(images), expected, atol=1e-3, rtol=0)


MODES: list[Literal["bilinear", "bicubic"]] = ["bilinear", "bicubic"]
SIZES = [(64, 48), (40, 90), (333, 500), (37, 29), (41, 40), (20, 31), (150, 83)]
"""Heights and widths of images, larger and smaller, whose longer sides come to whole pixels and to every kind of fraction."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("size", "resize"), [(32, 40), (33, 40), (30, 33)])
def test_resize_and_crop_are_torchvisions(
    height: int, width: int, size: int, resize: int, mode: Literal["bilinear", "bicubic"]
) -> None:
    images = noise(height, width)
    resized = v2.functional.resize(images.float(), [resize], interpolation=v2.InterpolationMode(mode), antialias=True)
    expected = v2.functional.center_crop(resized, [size, size]).clamp(0, 255)
    found = Preprocessing(size=size, resize=resize, interpolation=mode).resized(images)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_file_is_resized_as_by_pillow(height: int, width: int, mode: Literal["bilinear", "bicubic"]) -> None:
    """Pillow rounds to whole numbers after each of its two passes: half a level each, the first one's spread by the second. It also
    clips after each; the pixels here keep away from black and white, so that there is nothing to clip."""
    image = PIL.Image.fromarray((noise(height, width)[0] // 2 + 64).permute(1, 2, 0).numpy())
    transform = v2.Compose([v2.Resize(40, interpolation=v2.InterpolationMode(mode)), v2.CenterCrop(32), v2.PILToTensor()])
    found = Preprocessing(size=32, resize=40, interpolation=mode).image(image)[0] * 255
    torch.testing.assert_close(found, transform(image).float(), atol=1.5, rtol=0)


def test_preprocessing_of_older_files_is_bilinear() -> None:
    assert (
        Preprocessing.model_validate_json('{"size": 32, "resize": 40, "channels": 3, "mean": [], "std": []}').interpolation
        == "bilinear"
    )


def test_normalizing_by_hand() -> None:
    preprocessing = Preprocessing(size=1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    torch.testing.assert_close(preprocessing(images).flatten(), torch.tensor([-1.0, 1.5, 0.1]))
    assert torch.equal(Preprocessing(size=1)(images).flatten(), torch.tensor([0.0, 1.0, 0.2]))


def test_an_image_of_the_right_size_is_left_alone() -> None:
    images = noise(32, 32)
    assert Preprocessing(size=32).resized(images) is images


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_networks_channels(mode: str, channels: int) -> None:
    base = PIL.Image.fromarray(noise(24, 24)[0].permute(1, 2, 0).numpy())
    image = (
        PIL.Image.fromarray((numpy.arange(576, dtype=numpy.uint16) * 113).reshape(24, 24)) if mode == "I;16" else base.convert(mode)
    )
    tensor = Preprocessing(size=16, channels=channels).image(image)  # type: ignore[arg-type]
    assert tensor.shape == (1, channels, 16, 16)
    assert tensor.dtype == torch.float32
    assert 0 <= float(tensor.min()) < float(tensor.max()) <= 1


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    image = PIL.Image.fromarray(numpy.full((4, 4), 32768, dtype=numpy.uint16))
    assert float(Preprocessing(size=4, channels=1).image(image).mean()) == pytest.approx(0.5, abs=0.01)


def test_transparent_parts_are_white() -> None:
    image = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert float(Preprocessing(size=4).image(image).min()) == 1


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    pixels = numpy.zeros((8, 8, 3), dtype=numpy.uint8)
    pixels[:4] = 255  # white above
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # is upside down
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    tensor = Preprocessing(size=8).image(PIL.Image.open(buffer))
    assert float(tensor[..., :4, :].max()) == 0
    assert float(tensor[..., 4:, :].min()) == 1


def test_an_image_and_an_array_go_the_same_way() -> None:
    """What is trained on as an array is predicted on as a file."""
    images = noise(28, 28, channels=1)
    preprocessing = Preprocessing(size=40, channels=1, mean=(0.3,), std=(0.4,))
    image = preprocessing.image(PIL.Image.fromarray(images[0, 0].numpy()))
    assert torch.equal(image, preprocessing(images[:1]))


@pytest.mark.parametrize(
    "wrong", [{"size": 8, "mean": (0.5,)}, {"size": 8, "mean": (0.5,), "std": (0.5,)}, {"size": 8, "resize": 7}, {"size": 0}]
)
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Preprocessing.model_validate(wrong)
