"""Decoding: the same pixels as Pillow's, fewer of them where fewer suffice, and a reason for whatever is no image."""

import io
import math

import numpy as np
import PIL.Image
import pytest
import torch

from resnets.data.augmentation.crops import Box
from resnets.data.decoding import decode as decoding
from resnets.data.decoding.decode import EncodedImage
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.data.errors import Unreadable
from resnets.data.loaders.rows import cut, fitted


def photograph(height: int, width: int, seed: int = 0) -> PIL.Image.Image:
    """Smooth shapes with some noise, as in a photograph."""
    rows, columns = np.mgrid[:height, :width] / 40
    waves = [np.sin(rows * (1 + k) + k) * np.cos(columns * (2 - 0.5 * k)) for k in range(3)]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 1))
    return PIL.Image.fromarray((np.stack(waves, -1) * 90 + 128 + noise).clip(0, 255).astype(np.uint8))


def saved(image: PIL.Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_whole_jpeg_has_pillows_pixels(mode: str, channels: int) -> None:
    data = saved(photograph(75, 100).convert(mode), quality=90)
    expected = np.array(PIL.Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB")).reshape(75, 100, channels)
    assert np.array_equal(EncodedImage(data, channels).pixels(), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_pillows(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = saved(photograph(24, 40), kind, exif=exif)
    from PIL import ImageOps

    expected = np.array(ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))).convert("RGB"))
    image = EncodedImage(data, 3)
    assert (image.height, image.width) == expected.shape[:2]
    assert np.array_equal(image.pixels(), expected)


def test_a_turned_jpeg_is_reduced_along_its_own_sides() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = EncodedImage(saved(photograph(80, 320), exif=exif), 3)
    assert (image.height, image.width) == (320, 80)
    assert image.pixels((160, 40)).shape == (160, 40, 3)
    assert image.pixels((161, 40)).shape == (320, 80, 3)
    assert image.pixels((80, 20)).shape == (80, 20, 3)


@pytest.mark.parametrize(
    ("least", "factor"), [((100, 100), 1), ((76, 10), 1), ((75, 100), 2), ((38, 50), 4), ((19, 25), 8), ((1, 1), 8)]
)
def test_a_jpeg_is_decoded_to_the_smallest_size_that_suffices(least: tuple[int, int], factor: int) -> None:
    pixels = EncodedImage(saved(photograph(150, 200)), 3).pixels(least)
    assert pixels.shape == (math.ceil(150 / factor), math.ceil(200 / factor), 3)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reduced_crop_is_close_to_that_of_the_whole_image(factor: int, channels: int) -> None:
    """The bound: 2 levels of 255 on the mean (1 for 2 x), where a crop of another size by one pixel in 8 x 8 would be off by far more."""
    image = EncodedImage(saved(photograph(512, 768), quality=92), channels)  # type: ignore[arg-type]
    box = Box(64, 128, 384, 384)
    size = 384 // factor
    whole, reduced = (np.empty((size, size, channels), np.uint8) for _ in range(2))
    cut(image.pixels(), box, (512, 768), size, whole)
    fewer = image.pixels((512 // factor, 768 // factor))
    assert fewer.shape[0] == 512 // factor
    cut(fewer, box, (512, 768), size, reduced)
    difference = np.abs(whole.astype(int) - reduced.astype(int)).mean()
    assert difference < (1 if factor == 2 else 2)
    cut(fewer, Box(64 + 2 * factor, 128, 384, 384), (512, 768), size, reduced)
    assert np.abs(whole.astype(int) - reduced.astype(int)).mean() > 2 * difference


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_sees_what_prediction_sees_rounded(mode: str, channels: int, interpolation: str) -> None:
    base = photograph(60, 90)
    if mode == "I;16":
        image = PIL.Image.fromarray((np.arange(5400, dtype=np.uint16) * 12).reshape(60, 90))
    else:
        image = base.convert(mode)
    data = saved(image, "TIFF" if mode == "CMYK" else "PNG")
    preprocessing = Preprocessing.model_validate({"size": 32, "resize": 40, "channels": channels, "interpolation": interpolation})
    expected = preprocessing.image(PIL.Image.open(io.BytesIO(data)))[0].permute(1, 2, 0) * 255
    found = fitted(EncodedImage(data, channels).pixels(), preprocessing)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.from_numpy(found).float(), expected, atol=0.501, rtol=0)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert EncodedImage(data, 3).pixels()[0, 0].tolist() == [255, 0, 0]


WHOLE = saved(photograph(64, 64), quality=90)
PNG = saved(photograph(64, 64), "PNG")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"GIF89a", "no image|damaged"),
        (b"<html>not found</html>", "no image"),
        (WHOLE[: len(WHOLE) // 2], "damaged.*truncated"),
        (WHOLE[:20], "damaged|no image"),
        (PNG[: len(PNG) // 2], "damaged"),
        (PNG[:40] + b"\0" * 40 + PNG[80:], "damaged|no image"),
    ],
)
@pytest.mark.parametrize("least", [None, (8, 8)])
def test_what_is_no_image_says_so(data: bytes, reason: str, least: tuple[int, int] | None) -> None:
    with pytest.raises(Unreadable, match=reason):
        EncodedImage(data, 3).pixels(least)


def test_stray_bytes_in_a_jpeg_are_no_damage() -> None:
    """libjpeg-turbo warns of them, and Pillow does not."""
    assert np.array_equal(EncodedImage(WHOLE[:-2] + b"\0\0\0" + WHOLE[-2:], 3).pixels(), EncodedImage(WHOLE, 3).pixels())


def test_broken_exif_says_nothing_about_the_pixels() -> None:
    broken = WHOLE[:2] + b"\xff\xe1\x00\x10Exif\0\0garbage!" + WHOLE[2:]
    assert np.array_equal(EncodedImage(broken, 3).pixels(), EncodedImage(WHOLE, 3).pixels())


@pytest.mark.parametrize("data", [WHOLE, PNG])
def test_images_that_would_fill_the_memory_are_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(Unreadable, match="4,096 pixels"):
        EncodedImage(data, 3)
