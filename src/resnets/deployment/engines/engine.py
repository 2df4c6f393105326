"""The contract of every engine, and the engine that is torch itself.

Legend: N images of a batch, C channels, S spatial shape (H W for images), K classes. An engine is a network ready to run in one
runtime, whether it was converted in memory or read from an exported file; all of them take the same images and give the same logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...data.decoding.preprocessing import Preprocessing
from ...networks import Network, NetworkSpec
from ..graph.description import Description, description_of
from ..graph.exported import DTYPES
from ..graph.folding import fold
from ..graph.names import EngineName


def needed(package: str, extra: str) -> None:
    """Raises:
    ValueError: the package is not installed; the message names the extra that brings it.
    """
    if find_spec(package) is None:
        raise UserError(f"this needs the package {package}, which is not installed: pip install 'resnets[{extra}]'")


class Engine(ABC):
    """A network that runs in one runtime.

    Attributes:
        name: one of `names.ENGINES`.
        version: package and version that computes, such as "openvino 2026.4.1".
        precision: number format that it computes in: "fp32", "bf16", "fp16" or "int8".
        description: what is known of the network; its form says what the engine takes.
    """

    name: EngineName

    def __init__(self, description: Description, version: str, precision: str) -> None:
        self.description, self.version, self.precision = description, version, precision

    @property
    def spec(self) -> NetworkSpec:
        """The network's description."""
        return self.description.spec

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in the logits' order, where they are known."""
        return self.description.classes

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What turns an image into the network's input, where it is known."""
        return self.description.preprocessing

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, K), float32 on the images' device, for normalised images (N, C, *S), float32; N may be 0.

        A file in the form "uint8" gives probabilities only: there the images are turned back into whole pixels, and the logits are
        the logarithms of the probabilities, which differ from the network's by a constant per image.

        Raises:
            ValueError: images of another shape than the network takes.
        """
        self._check(images)
        if not len(images):
            return images.new_zeros((0, self.spec.num_classes), dtype=torch.float32)
        if self.description.form.input == "images":
            logits = self.outputs(images)[0]
        else:
            preprocessing = self.preprocessing
            assert preprocessing is not None  # no images are exported without it
            shift, scale = (values.to(images.device) for values in preprocessing.shift_and_scale())
            pixels = (images * scale + shift).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
            logits = self.outputs(pixels)[1].clamp_min(torch.finfo(torch.float32).tiny).log()
        return logits.to(images.device, torch.float32)

    @abstractmethod
    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """What the network puts out for inputs in the form that `description.form` says: (logits,), or (labels, probabilities)."""

    def _check(self, images: Tensor) -> None:
        spec, size = self.spec, self.description.form.size
        if images.ndim != 2 + spec.dims or images.shape[1] != spec.in_channels:
            raise UserError(
                f"the network takes images of shape (N, {spec.in_channels}, {', '.join(['size'] * spec.dims)}), not {tuple(images.shape)}"
            )
        if size is not None and any(side != size for side in images.shape[2:]):
            raise UserError(
                f"this file takes images of {size} pixels only, not {tuple(images.shape[2:])}; export it with --size dynamic for any size"
            )


class TorchEngine(Engine):
    """The network in torch: batch norms folded, channels last in memory, all of it in one precision."""

    name: EngineName = "torch"

    def __init__(
        self,
        network: Network,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        exact: bool = False,
        compiled: bool = False,
        description: Description | None = None,
    ) -> None:
        """Args:
        network: it stays as it is, and where it is.
        threads: for all of torch in this process, which knows no others; None leaves them.
        exact: the network as it was trained, with autocast, so that the results are those of training's evaluation to the bit.
        compiled: through `torch.compile`; the first batch of each shape then takes seconds to minutes.

        Raises:
            ValueError: a precision that torch's networks do not run in.
        """
        if precision not in DTYPES:
            raise UserError(f"precision {precision!r} is none that torch runs networks in; choose from {', '.join(DTYPES)}")
        if threads is not None:
            torch.set_num_threads(threads)
        about = description or description_of(network)
        self.exact, self.dtype = exact, DTYPES[precision]
        self.network: nn.Module
        if exact:
            self.network, folded = network.eval(), 0
        else:
            copied, folding = fold(network)
            folded = len(folding.folded)
            form = torch.channels_last if network.spec.dims == 2 else torch.preserve_format
            self.network = copied.to(dtype=self.dtype).to(memory_format=form)
        if compiled:
            self.name = "torch-compile"
            self.network = torch.compile(self.network)  # type: ignore[assignment]
        self.device = next(network.parameters()).device
        self._channels_last = not exact and network.spec.dims == 2
        super().__init__(
            about.in_form(input="images", precision=precision, folded_norms=folded), f"torch {torch.__version__}", precision
        )

    @torch.inference_mode()
    def outputs(self, inputs: Tensor) -> tuple[Tensor, ...]:
        with self._autocast():
            return (self.network(self._arranged(inputs)).float(),)

    @torch.inference_mode()
    def logits_and_maps(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (N, K), float32, and the map after each stage by its name, as `Network.features` gives them, from one pass.

        Raises:
            ValueError: images of another shape than the network takes, or a compiled network, which gives logits alone.
        """
        self._check(images)
        if not isinstance(self.network, Network):
            raise UserError(f"the engine {self.name} gives logits alone; take the engine torch")
        with self._autocast():
            maps = self.network.features(self._arranged(images))
            return self.network.head(maps[self.network.stage_names[-1]]).float(), maps

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.exact and self.dtype != torch.float32)

    def _arranged(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        if self._channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images if self.exact else images.to(self.dtype)


class EngineModule(nn.Module):
    """An engine in a module's clothes, for what takes modules, such as `training.evaluate.evaluate`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, images: Tensor) -> Tensor:
        return self.engine.logits(images)
