"""Networks of torchvision and timm by name, such as `torchvision/vgg19` and `timm/resnet50`, beside ours in tables.

One fused multiply-add counts as one, as everywhere here.
"""

from __future__ import annotations

import difflib
import fnmatch
from functools import cache
from importlib.util import find_spec

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

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
        raise ValueError("timm is not installed; pip install timm, or name a network of torchvision, such as torchvision/resnet50")
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
        raise ValueError(f"{package} has no network named {rest!r}; {hint}")
    network: nn.Module
    if package == "torchvision":
        import torchvision

        without = {"aux_logits": False, "init_weights": False} if rest in ("googlenet", "inception_v3") else {}
        network = torchvision.models.get_model(rest, weights=None, **without)
    else:
        import timm

        network = timm.create_model(rest, pretrained=False)
    return network


def foreign_cost(name: str) -> tuple[int, int, int]:
    """Parameters, multiply-adds for one picture (convolutions and matrix products), and the height and width of that picture in
    pixels, of another package's network; counted on the meta device without computing.

    Raises:
        ValueError: as `foreign_network`; or a network that takes no pictures (C, H, W).
    """
    with torch.device("meta"):
        network = foreign_network(name).eval()
    channels, size = _input(name, network)
    images = torch.empty(1, channels, size, size, device="meta")
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            network(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{name} cannot be counted with pictures of {channels}×{size}×{size}: {said}") from None
    # The counter takes a multiply and an add for two.
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2, size


def _input(name: str, network: nn.Module) -> tuple[int, int]:
    """Channels and size of the picture for which the network's published weights were made; 3 and 224 where there are none."""
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
        raise ValueError(f"{name!r} is of no package that is known here; write torchvision/NAME or timm/NAME")
