"""Networks of torchvision and timm by name, such as `torchvision/vgg19` and `timm/resnet50`, beside ours in tables.

One fused multiply-add counts as one, as everywhere here.
"""

from __future__ import annotations

import difflib
import fnmatch
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..core.errors import UserError

PACKAGES = ("torchvision", "timm")


def is_foreign(name: str) -> bool:
    """Whether `name` has the form PACKAGE/NAME of another package's network."""
    return name.partition("/")[0] in PACKAGES and "/" in name


@cache
def _names(package: str) -> tuple[str, ...]:
    if package == "torchvision":
        import torchvision

        return tuple(torchvision.models.list_models(module=torchvision.models))
    if find_spec("timm") is None:
        raise UserError("timm is not installed; pip install timm, or name a network of torchvision, such as torchvision/resnet50")
    import timm

    return tuple(timm.list_models())


def list_foreign(pattern: str) -> list[str]:
    """Names such as "torchvision/resnet50" that match a shell pattern, "torchvision/resnet*".

    Raises:
        ValueError: another package, or one that is not installed.
    """
    package, _, rest = pattern.partition("/")
    _check_package(package, pattern)
    return [f"{package}/{name}" for name in fnmatch.filter(_names(package), rest)]


def foreign_network(name: str) -> nn.Module:
    """The classification network of another package by name, with fresh weights.

    Auxiliary classifiers (GoogLeNet, Inception-v3), which only training uses, are left off.

    Raises:
        ValueError: another package, one that is not installed, or a name that it does not know; the message gives the nearest.
    """
    package, _, rest = name.partition("/")
    _check_package(package, name)
    names = _names(package)
    if rest not in names:
        near = difflib.get_close_matches(rest, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(f'{package}/{n}' for n in near)}?" if near else f"it has {', '.join(names[:10])}, ..."
        raise UserError(f"{package} has no network named {rest!r}; {hint}")
    network: nn.Module
    if package == "torchvision":
        import torchvision

        without = {"aux_logits": False, "init_weights": False} if rest in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(rest, weights=None, **without)
    else:
        import timm

        network = timm.create_model(rest, pretrained=False)
    return network


@dataclass(frozen=True)
class ForeignPart:
    """One of the modules that another package's network consists of."""

    name: str
    kind: str
    """Its class."""
    output: tuple[int, ...] | None
    """Shape of its output for one image; None where it puts out no single tensor, or the network does not call it."""
    parameters: int
    macs: int


@dataclass(frozen=True)
class ForeignCost:
    """Parameters and multiply-adds of another package's network, for one image, in all and by its parts."""

    parameters: int
    macs: int
    """Of convolutions and matrix products."""
    channels: int
    size: int
    """Height and width of the image in pixels."""
    parts: tuple[ForeignPart, ...]
    """Its children in their order; what is in none of them is in the totals alone."""


def foreign_cost(name: str) -> tuple[int, int, int]:
    """Parameters, multiply-adds for one image, and that image's height and width in pixels, of another package's network.

    Raises:
        ValueError: as `foreign_parts`.
    """
    cost = foreign_parts(name)
    return cost.parameters, cost.macs, cost.size


def foreign_parts(name: str, input_size: int | None = None) -> ForeignCost:
    """What another package's network costs, for an image of `input_size` or of the size its weights were made for; counted on the meta
    device without computing.

    Raises:
        ValueError: as `foreign_network`; or a network that takes no images (C, H, W) of that size.
    """
    with torch.device("meta"):
        network = foreign_network(name).eval()
    channels, native = _input(name, network)
    size = input_size or native
    images = torch.empty(1, channels, size, size, device="meta")
    outputs: dict[str, tuple[int, ...]] = {}

    def remember(child: str, output: object) -> None:
        if isinstance(output, torch.Tensor):
            outputs[child] = tuple(output.shape[1:])

    for child, module in network.named_children():
        module.register_forward_hook(lambda _module, _inputs, output, child=child: remember(child, output))
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name} cannot be counted with images of {channels}×{size}×{size}: {said}") from None
    flops, root = counter.get_flop_counts(), type(network).__name__
    # The counter takes a multiply and an add for two.
    parts = tuple(
        ForeignPart(
            child,
            type(module).__name__,
            outputs.get(child),
            sum(parameter.numel() for parameter in module.parameters()),
            sum(flops.get(f"{root}.{child}", {}).values()) // 2,
        )
        for child, module in network.named_children()
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return ForeignCost(parameters, counter.get_total_flops() // 2, channels, size, parts)


def _input(name: str, network: nn.Module) -> tuple[int, int]:
    """Channels and size of the image for which the network's published weights were made; 3 and 224 where there are none."""
    package, _, rest = name.partition("/")
    if package == "timm":
        channels, size, _ = network.pretrained_cfg.get("input_size", (3, 224, 224))  # type: ignore[union-attr, operator]
        return int(channels), int(size)
    import torchvision

    default = getattr(torchvision.models.get_model_weights(rest), "DEFAULT", None)
    crop = getattr(default.transforms(), "crop_size", [224]) if default is not None else [224]
    return 3, int(crop[0])


def _check_package(package: str, name: str) -> None:
    if package not in PACKAGES:
        raise UserError(f"{name!r} is of no package that is known here; write torchvision/NAME or timm/NAME")
