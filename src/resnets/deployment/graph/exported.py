"""The graph that is exported: a network with all that a program beside Python needs around it.

Legend: N images of a batch, C channels, S spatial shape (H W for images), K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ...core.errors import UserError
from ...data.decoding.preprocessing import Preprocessing
from ...networks import Network
from .description import Description

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What networks are exported and run in."""
OUTPUTS = {"images": ("logits",), "uint8": ("labels", "probabilities")}
"""What the outputs are called, by the form's input."""


class LogitsGraph(nn.Module):
    """Normalised images (N, C, *S) float32 to logits (N, K) float32, computed in `dtype`."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.float()


class PixelsGraph(nn.Module):
    """Images (N, H, W, C) uint8, as decoders give them, to labels (N,) int64 and probabilities (N, K) float32.

    They have the network's size: resizing with antialiasing differs from runtime to runtime and stays outside.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.logits = LogitsGraph(network, dtype)
        shift, scale = preprocessing.shift_and_scale()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    shift: Tensor
    scale: Tensor

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        images = (pixels.permute(0, 3, 1, 2).float() - self.shift) / self.scale
        probabilities = self.logits(images).softmax(1)
        return probabilities.argmax(1), probabilities


def check_exportable(description: Description) -> None:
    """Raises:
    ValueError: the network has another head than one for classes, or the form asks for what it does not have.
    """
    spec, form, preprocessing = description.spec, description.form, description.preprocessing
    if spec.head != "classes" or not spec.num_classes:
        raise UserError("only networks that give class logits can be exported; this one has none")
    if form.precision not in DTYPES:
        raise UserError(f"precision {form.precision!r} is none that networks are exported in; choose from {', '.join(DTYPES)}")
    if form.input == "uint8":
        if preprocessing is None:
            raise UserError(
                "the network does not say how images are prepared, so that it cannot take uint8; export it without --uint8"
            )
        if spec.dims != 2:
            raise UserError(f"images have two dimensions, and this network has {spec.dims}; export it without --uint8")
        if preprocessing.mean_picture and form.size is None:
            raise UserError("the network's mean is a whole image of its size; export it with --size fixed")


def native_size(description: Description) -> int:
    """Height and width in pixels that the network was made for."""
    preprocessing = description.preprocessing
    return description.spec.input_size if preprocessing is None else preprocessing.size


def example_inputs(description: Description, count: int, size: int | None = None, seed: int = 0) -> Tensor:
    """Noise in the form that the graph takes: normal images (count, C, *S) float32, or evenly spread uint8 ones (count, H, W, C)."""
    spec, side = description.spec, size or native_size(description)
    generator = torch.Generator().manual_seed(seed)
    if description.form.input == "images":
        return torch.randn(count, spec.in_channels, *(side,) * spec.dims, generator=generator)
    return torch.randint(256, (count, side, side, spec.in_channels), generator=generator, dtype=torch.uint8)


def make_graph(network: Network, description: Description, dtype: torch.dtype) -> nn.Module:
    """The graph in the description's form around a network whose parameters have that type already."""
    if description.form.input == "images":
        return LogitsGraph(network, dtype).eval()
    assert description.preprocessing is not None
    return PixelsGraph(network, dtype, description.preprocessing).eval()


def traced(graph: nn.Module, description: Description) -> ExportedProgram:
    """The graph as torch.export sees it, with any number of images, and any size where the form says so.

    Raises:
        ValueError: the network's graph does not allow that.
    """
    # Two images, since torch.export takes a length of one for a constant.
    inputs = example_inputs(description, 2)
    dynamic: dict[int, object] = {0: Dim("batch", min=1)}
    if description.form.size is None:
        first = 2 if description.form.input == "images" else 1
        dynamic |= {first + i: Dim.DYNAMIC for i in range(description.spec.dims)}
    try:
        with torch.no_grad():
            return torch.export.export(graph, (inputs,), dynamic_shapes=(dynamic,), strict=False)
    except torch._dynamo.exc.UserError as error:
        raise UserError(f"the network's graph does not allow this form: {str(error).splitlines()[0]}; try --size fixed") from None
