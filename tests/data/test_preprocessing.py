"""Preprocessing: one way from pictures to a network's input, for training, evaluation and prediction."""

import io
from pathlib import Path

import numpy
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2

from resnets.data.preprocessing import Preprocessing


def noise(height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (2, channels, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 96), (64, 48, 32), (20, 50, 20)])
def test_squeezing_is_torchvisions_resize(height: int, width: int, size: int) -> None:
    images = noise(height, width)
    expected = v2.functional.resize(images.float(), [size, size], antialias=True)
    torch.testing.assert_close(Preprocessing(size=size).resized(images), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(64, 48), (40, 90)])
def test_resize_and_crop_are_torchvisions(height: int, width: int) -> None:
    images = noise(height, width)
    expected = v2.functional.center_crop(v2.functional.resize(images.float(), [40], antialias=True), [32, 32])
    torch.testing.assert_close(Preprocessing(size=32, resize=40).resized(images), expected, atol=1.0, rtol=0)


def test_normalizing_by_hand() -> None:
    preprocessing = Preprocessing(size=1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))
    images = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    torch.testing.assert_close(preprocessing(images).flatten(), torch.tensor([-1.0, 1.5, 0.1]))
    assert torch.equal(Preprocessing(size=1)(images).flatten(), torch.tensor([0.0, 1.0, 0.2]))


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    images = noise(32, 32)
    assert Preprocessing(size=32).resized(images) is images


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_networks_channels(mode: str, channels: int) -> None:
    base = PIL.Image.fromarray(noise(24, 24)[0].permute(1, 2, 0).numpy())
    image = (
        PIL.Image.fromarray((numpy.arange(576, dtype=numpy.uint16) * 113).reshape(24, 24)) if mode == "I;16" else base.convert(mode)
    )
    tensor = Preprocessing(size=16, channels=channels).picture(image)  # type: ignore[arg-type]
    assert tensor.shape == (1, channels, 16, 16)
    assert tensor.dtype == torch.float32
    assert 0 <= float(tensor.min()) < float(tensor.max()) <= 1


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    image = PIL.Image.fromarray(numpy.full((4, 4), 32768, dtype=numpy.uint16))
    assert float(Preprocessing(size=4, channels=1).picture(image).mean()) == pytest.approx(0.5, abs=0.01)


def test_transparent_parts_are_white() -> None:
    image = PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert float(Preprocessing(size=4).picture(image).min()) == 1


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    pixels = numpy.zeros((8, 8, 3), dtype=numpy.uint8)
    pixels[:4] = 255  # white above
    exif = PIL.Image.Exif()
    exif[0x0112] = 3  # lies upside down
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    tensor = Preprocessing(size=8).picture(PIL.Image.open(buffer))
    assert float(tensor[..., :4, :].max()) == 0
    assert float(tensor[..., 4:, :].min()) == 1


def test_a_picture_and_an_array_go_the_same_way() -> None:
    """What is trained on as an array is predicted on as a file."""
    images = noise(28, 28, channels=1)
    preprocessing = Preprocessing(size=40, channels=1, mean=(0.3,), std=(0.4,))
    picture = preprocessing.picture(PIL.Image.fromarray(images[0, 0].numpy()))
    assert torch.equal(picture, preprocessing(images[:1]))


@pytest.mark.parametrize(
    "wrong", [{"size": 8, "mean": (0.5,)}, {"size": 8, "mean": (0.5,), "std": (0.5,)}, {"size": 8, "resize": 7}, {"size": 0}]
)
def test_contradictions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Preprocessing.model_validate(wrong)
