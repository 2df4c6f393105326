"""`Preprocessing`: what turns pictures into a network's input, the same for training, evaluation and prediction.

Legend: N batch, C channels, H W height and width in pixels. It is stored in the model file, so that nobody types it again.
Importing this module loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class Preprocessing(BaseModel):
    """Size, channels and normalisation of a network's input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(gt=0)]
    """Height and width in pixels that the network sees."""
    resize: Annotated[int, Field(gt=0)] | None = None
    """Length in pixels of the shorter side before a centred crop of `size`; None squeezes the whole picture into the square."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB."""
    mean: tuple[float, ...] = ()
    """Per channel, in [0, 1] units; empty for no normalisation."""
    std: tuple[float, ...] = ()
    """Per channel, in [0, 1] units."""

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, self.channels):
            raise ValueError(f"mean and std need one value for each of the {self.channels} channels, or none")
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize={self.resize} is smaller than the crop of size={self.size}")
        return self

    def resized(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W), uint8 or floating in [0, 255], at the network's size: float32 in [0, 255], or as they are where
        the size is right already. Bilinear, antialiased where it shrinks."""
        from torch.nn import functional

        height, width = images.shape[-2:]
        if (height, width) == (self.size, self.size):
            return images
        if self.resize is None:
            target = (self.size, self.size)
        else:
            factor = self.resize / min(height, width)
            target = (max(self.resize, round(height * factor)), max(self.resize, round(width * factor)))
        shrinks = target[0] < height or target[1] < width
        images = functional.interpolate(images.float(), target, mode="bilinear", align_corners=False, antialias=shrinks)
        top, left = (target[0] - self.size) // 2, (target[1] - self.size) // 2
        return images[..., top : top + self.size, left : left + self.size]

    def normalized(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W), uint8 or floating in [0, 255], as float32 in [0, 1], shifted and scaled by mean and std."""
        import torch

        mean = torch.tensor(self.mean or (0.0,), device=images.device).view(-1, 1, 1) * 255
        std = torch.tensor(self.std or (1.0,), device=images.device).view(-1, 1, 1) * 255
        return (images.float() - mean) / std

    def __call__(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W), uint8, of one size as the network's input (N, C, size, size), float32."""
        return self.normalized(self.resized(images))

    def picture(self, image: Image) -> Tensor:
        """A Pillow picture of any mode and size as the network's input (1, C, size, size), float32; EXIF rotation is applied."""
        import numpy
        import PIL.Image
        import torch
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip instead of scale
            image = PIL.Image.fromarray((numpy.asarray(image) / 257).round().clip(0, 255).astype(numpy.uint8))
        if image.has_transparency_data:  # transparent parts lie on white, as a viewer shows them
            layered = image.convert("RGBA")
            image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layered.size, "white"), layered)
        pixels = numpy.array(image.convert("L" if self.channels == 1 else "RGB"))
        tensor = torch.from_numpy(pixels)
        tensor = tensor.unsqueeze(0) if tensor.dim() == 2 else tensor.permute(2, 0, 1)
        return self(tensor.unsqueeze(0))
