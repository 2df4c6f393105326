"""`Preprocessing`: what turns images into a network's input, the same for training, evaluation and prediction.

Legend: N batch, C channels, H W height and width in pixels. It is stored in the model file, so that nobody types it again.
Importing this module loads no torch.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...core.errors import UserError
from ...core.limits import PIXELS_A_SIDE, check_limit
from .sides import at_shorter_side

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_LARGE = 2**26
"""Numbers of an image."""


class Preprocessing(BaseModel):
    """Size, channels and normalisation of a network's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(gt=0)]
    """Height and width in pixels that the network sees."""
    resize: Annotated[int, Field(gt=0)] | None = None
    """Length in pixels of the shorter side before a centred crop of `size`; None squeezes the whole image into the square."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How an image is resized, antialiased as Pillow and torchvision do; bicubic is what many of timm's networks were evaluated with."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB."""
    mean: tuple[float, ...] = ()
    """Per channel, in [0, 1] units; empty for no normalisation."""
    std: tuple[float, ...] = ()
    """Per channel, in [0, 1] units."""
    mean_picture: str = Field(default="", repr=False)
    """A mean for each pixel in the place of `mean` and `std`, see `encoded`; nothing is scaled then. Empty for none."""

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        check_limit("size is", self.size, PIXELS_A_SIDE)
        check_limit("resize is", self.resize or self.size, 2 * PIXELS_A_SIDE)
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, self.channels):
            raise UserError(f"mean and std need one value for each of the {self.channels} channels, or none")
        if self.resize is not None and self.resize < self.size:
            raise UserError(f"resize={self.resize} is smaller than the crop of size={self.size}")
        if self.mean_picture and self.mean:
            raise UserError("mean_picture takes the place of mean and std; give one or the other")
        if self.mean_picture and len(self.mean_picture) != 4 * math.ceil(4 * self.channels * self.size**2 / 3):
            raise UserError(f"mean_picture is not one of {self.channels} channels of {self.size} x {self.size} pixels")
        return self

    def shift_and_scale(self) -> tuple[Tensor, Tensor]:
        """What `normalized` takes from pixels in [0, 255] and divides them by: (C or 1, size or 1, size or 1) float32 each."""
        import torch

        if self.mean_picture:
            values = torch.frombuffer(bytearray(base64.b64decode(self.mean_picture)), dtype=torch.float32)
            return values.view(self.channels, self.size, self.size) * 255, torch.full((1, 1, 1), 255.0)
        mean, std = (torch.tensor(values or (plain,)).view(-1, 1, 1) for values, plain in ((self.mean, 0.0), (self.std, 1.0)))
        return mean * 255, std * 255

    def resized(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 or floating in [0, 255], at the network's size: float32 in [0, 255], or as they are where
        the size is right already. Sizes and crop are torchvision's: the longer side is cut to whole pixels, not rounded.

        Raises:
            Unreadable: an image is so long that it cannot be resized, see `at_shorter_side`.
        """
        import torch
        from torch.nn import functional

        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size):
            return images
        target = (self.size, self.size) if self.resize is None else at_shorter_side(height, width, self.resize)
        # Without a smaller side the antialiased bilinear filter is the plain one, only slower; the bicubic one has another kernel.
        antialias = target[0] < height or target[1] < width or self.interpolation == "bicubic"
        # All channels of a large image at once, as floats, would take twelve bytes per pixel.
        parts = images.chunk(images.shape[1], dim=1) if images.numel() > _LARGE else (images,)
        made = [
            functional.interpolate(part.float(), target, mode=self.interpolation, align_corners=False, antialias=antialias)
            for part in parts
        ]
        images = made[0] if len(made) == 1 else torch.cat(made, dim=1)
        if self.interpolation == "bicubic":
            images = images.clamp_(0, 255)  # its kernel has negative parts, so that it overshoots at edges
        top, left = round((target[0] - self.size) / 2), round((target[1] - self.size) / 2)
        return images[..., top : top + self.size, left : left + self.size]

    def normalized(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 or floating in [0, 255], as float32 in [0, 1], shifted by their means and scaled."""
        import torch

        shift, scale = (values.to(images.device) for values in self.shift_and_scale())
        count, channels, height, width = images.shape
        by_channel = shift.numel() == scale.numel() == channels > 1
        if images.device.type != "cpu" or not by_channel or not images.is_contiguous(memory_format=torch.channels_last):
            return (images.float() - shift) / scale
        # Side by side in memory are three channels only, too short a run for a processor: whole rows of pixels are faster, and image by
        # image all three steps find it in the processor's cache.
        bytes_ = images.permute(0, 2, 3, 1).reshape(count, height, width * channels)
        rows = torch.empty(bytes_.shape)
        shifts, scales = shift.flatten().repeat(width), scale.flatten().repeat(width)
        for image, row in zip(bytes_, rows, strict=True):
            row.copy_(image).sub_(shifts).div_(scales)
        return rows.view(count, height, width, channels).permute(0, 3, 1, 2)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of one size as the network's input (N, C, size, size), float32.

        Args:
            images: uint8; uint16, in its whole range; or floating point in [0, 1]. The type says which, never the values.

        Raises:
            UserError: another type or shape, or floats outside [0, 1].
        """
        return self.of_pixels(self._pixels(images))

    def of_pixels(self, images: Tensor) -> Tensor:
        """As a call, for images that are uint8 or floating in units of [0, 255], as random changes of colours leave them; unchecked."""
        return self.normalized(self.resized(images))

    def _pixels(self, images: Tensor) -> Tensor:
        """The images as uint8, or floating in [0, 255]."""
        import torch

        if images.dim() == 4 and images.shape[1] != self.channels and images.shape[-1] == self.channels:
            raise UserError(
                f"images are {tuple(images.shape)}, with their channels last; give channels first: images.permute(0, 3, 1, 2)"
            )
        if images.dim() != 4 or images.shape[1] != self.channels:
            raise UserError(f"images are {tuple(images.shape)}; give a batch (N, {self.channels}, H, W)")
        if images.dtype == torch.uint8:
            return images
        if images.dtype == torch.uint16:
            return images.float() / 257
        if not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise UserError(
                f"images are {kind}, which does not say how bright its numbers are; give uint8, uint16 or floats in [0, 1]"
            )
        if images.numel():
            least, most = (float(value) for value in images.aminmax())
            if not (least >= 0 and most <= 1):  # a NaN is not, either
                raise UserError(
                    f"floating-point images are in [0, 1] here, and these go from {least:.4g} to {most:.4g}; divide by 255, or give uint8 "
                    "images as they are; what is normalised already needs no preprocessing"
                )
        return images.float() * 255

    def image(self, image: Image) -> Tensor:
        """A Pillow image of any mode and size as the network's input (1, C, size, size), float32; EXIF rotation is applied."""
        import torch

        from .decode import flattened

        tensor = torch.from_numpy(flattened(image, self.channels)).permute(2, 0, 1)
        return self(tensor.unsqueeze(0))


def encoded(images: Tensor) -> str:
    """The mean over images (N, C, size, size), uint8, as `Preprocessing.mean_picture`: float32 in [0, 1], its bytes in base 64."""
    import torch

    total = torch.zeros(images.shape[1:], dtype=torch.int64, device=images.device)
    for start in range(0, len(images), 4096):  # all at once in int64 would take eight times the memory of the images
        total += images[start : start + 4096].sum(0, dtype=torch.int64)
    mean = (total.double() / (255 * len(images))).float().cpu()
    return base64.b64encode(mean.numpy().astype("<f4").tobytes()).decode("ascii")
