"""What is given to a network is understood, or refused in one sentence that says what to do."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import functional

import resnets
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.networks import Network


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return resnets.create_model("cifar-resnet8", num_classes=3).eval()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "takes floating point, normalised, not uint8; network.preprocessing"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "not int64"),
        (torch.zeros(2, 32, 32, 3), r"channels are last there: images.permute\(0, 3, 1, 2\)"),
        (torch.zeros(3, 32, 32), r"not one image \(3, 32, 32\); add the batch: images.unsqueeze\(0\)"),
        (torch.zeros(2, 1, 32, 32), "of grey images make three channels"),
        (torch.zeros(2, 4, 32, 32), r"takes \(N, 3, H, W\), not \(2, 4, 32, 32\)"),
        (torch.zeros(5), r"takes \(N, 3, H, W\), not \(5,\)"),
        (PIL.Image.new("RGB", (32, 32)), "not PIL's Image; network.preprocessing.image"),
        (np.zeros((2, 3, 32, 32), np.float32), "not numpy's ndarray"),
        ([torch.zeros(3, 32, 32)], "not a list"),
    ],
    ids=["uint8", "int64", "channels-last", "one-image", "grey", "four", "vector", "pil", "numpy", "list"],
)
def test_what_is_no_batch_is_refused(network: Network, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(given)
    with pytest.raises(ValueError, match=message):
        network.features(given)


def test_the_advice_is_right(network: Network) -> None:
    images = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    first = network(images.permute(0, 3, 1, 2))
    torch.testing.assert_close(network(images.permute(0, 3, 1, 2)[:1]), first[:1])
    torch.testing.assert_close(network(images.permute(0, 3, 1, 2)[0].unsqueeze(0)), first[:1])


@pytest.mark.parametrize("dims", [1, 3])
def test_series_and_volumes(dims: int) -> None:
    network = resnets.create_model("cifar-resnet8", num_classes=3, dims=dims).eval()
    size = (16,) * dims
    assert network(torch.zeros(1, 3, *size)).shape == (1, 3)
    with pytest.raises(ValueError, match="channels are last"):
        network(torch.zeros(1, *size, 3))


def test_tracers_pass(network: Network) -> None:
    images = torch.zeros(1, 3, 32, 32)
    expected = network(images)
    torch.testing.assert_close(torch.fx.symbolic_trace(network)(images), expected)
    torch.testing.assert_close(torch.jit.trace(network, images)(images), expected)
    torch.testing.assert_close(torch.export.export(network, (images,)).module()(images), expected)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)


SEEN = Preprocessing(size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def by_torchvision(images: torch.Tensor) -> torch.Tensor:
    return torch.stack(
        [functional.normalize(functional.convert_image_dtype(image), list(SEEN.mean), list(SEEN.std)) for image in images]
    )


def test_floats_uint8_and_uint16_mean_the_same() -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = by_torchvision(pixels)
    torch.testing.assert_close(SEEN(pixels), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(SEEN(pixels.float() / 255), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(SEEN((pixels.int() * 257).to(torch.uint16)), expected, atol=1e-5, rtol=1e-5)
    dark = torch.ones(1, 3, 32, 32, dtype=torch.uint8)  # values in [0, 1], and still pixels: the type says so
    torch.testing.assert_close(SEEN(dark), by_torchvision(dark), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.full((1, 3, 32, 32), 200.0), r"are in \[0, 1\] here, and these go from 200 to 200; divide by 255"),
        (torch.full((1, 3, 32, 32), -0.5), r"go from -0.5 to -0.5"),
        (torch.full((1, 3, 32, 32), float("nan")), "nan"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.int32), "int32, which does not say how bright"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), "with their channels last"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"give a batch \(N, 3, H, W\)"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), r"give a batch \(N, 3, H, W\)"),
    ],
    ids=["0-255", "negative", "nan", "int32", "channels-last", "one-image", "grey"],
)
def test_values_whose_meaning_is_not_clear_are_refused(given: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SEEN(given)
