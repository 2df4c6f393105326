"""Who takes part in `resnets benchmark`: a list, made before anything is built or loaded.

Every contestant has a process of its own (benchmark_worker.py), so that no library's threads, caches or memory are another's, and so
that its peak memory is its own. Importing this loads no torch, which not all of them need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UserError
from ..networks import NetworkSpec
from ..networks.zoo import get_spec

MODEL, IMAGES, PEER_ONNX = "model.safetensors", "images.npy", "torchvision.onnx"
"""Files that the contestants read: our model file, the images (N, C, S, S) float32, torchvision's network."""
EXPORTED = {"onnxruntime": "ours.onnx", "openvino": "ours.xml"}
"""Our network's files, by what runs them."""
QUANTIZED = {"onnxruntime": "int8.onnx", "openvino": "int8.xml"}
"""Our network's files in int8."""
Mode = Literal["predict", "train"]
_RUNTIMES: dict[str, Literal["onnxruntime", "openvino"]] = {".onnx": "onnxruntime", ".xml": "openvino"}
"""What runs per file, by its ending."""
Against = Literal["torchvision", "timm", "onnxruntime", "openvino"]
AGAINST: tuple[Against, ...] = ("torchvision", "timm", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Contestant:
    """One package's network in one runtime, in one of its settings."""

    package: Literal["resnets", "torchvision", "timm"]
    runtime: Literal["torch", "onnxruntime", "openvino"]
    mode: Mode
    precision: str
    compiled: bool = False
    graphs: bool = False
    """Kernels replayed as CUDA graphs, compiled too."""
    plain: bool = False
    """The module as it comes: eager, contiguous, the optimizer's defaults. In fp32 the baseline, to which ratios are."""
    file: str = ""
    """An exported file of ours, in the folder of all files or with a whole path, to be run as it is."""

    @property
    def engine(self) -> str:
        """Its name in tables: resnets, resnets-compiled, torchvision-onnxruntime, timm-channels-last, ..."""
        if self.runtime != "torch":
            return f"{self.package}-{self.runtime}"
        if self.graphs:
            return f"{self.package}-graphs"
        if self.compiled:
            return f"{self.package}-compiled"
        if self.package == "resnets":
            return "resnets-plain" if self.plain else "resnets"
        return self.package if self.plain else f"{self.package}-channels-last"

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def contestants(
    modes: Sequence[Mode],
    precisions: Sequence[str],
    against: Sequence[str],
    peers: dict[str, str],
    *,
    device: str = "cpu",
    compiled: bool = True,
    graphs: bool = False,
    quantized: Sequence[Path] = (),
) -> tuple[list[Contestant], list[str]]:
    """All that can take part, and why others cannot. The baseline is torchvision's module as it comes, eager and in fp32, or ours where
    torchvision has no such network.

    Args:
        peers: the network's name in each package that has it.
        compiled: also each torch engine through torch.compile.
        graphs: also as CUDA graphs, on a GPU.
        quantized: exported INT8 files of the same network, .onnx or .xml, besides those that the precision "int8" asks for.

    Raises:
        ValueError: a quantized file of another kind.
    """
    on_gpu = device.startswith("cuda")
    taking_part: list[Contestant] = []
    skipped = []
    packages: list[Any] = ["resnets"]
    for package in ("torchvision", "timm"):
        if package not in against:
            continue
        if find_spec(package) is None:
            skipped.append(f"{package} is not installed")
        elif package not in peers:
            skipped.append(f"{package} has no such network")
        else:
            packages.append(package)
    runtimes: list[Any] = []
    for runtime in ("onnxruntime", "openvino"):
        if runtime not in against or "predict" not in modes:
            continue
        if on_gpu:
            skipped.append(f"{runtime} is measured on CPUs only")
        elif find_spec(runtime) is None:
            skipped.append(f"{runtime} is not installed: pip install {runtime}")
        else:
            runtimes.append(runtime)
    if runtimes and (find_spec("onnx") is None or find_spec("onnxscript") is None):
        skipped.append(f"{' and '.join(runtimes)} read ONNX files, for which onnx and onnxscript are not installed")
        runtimes = []
    for mode in modes:
        taking_part.append(Contestant("torchvision" if "torchvision" in peers else "resnets", "torch", mode, "fp32", plain=True))
        for precision in precisions:
            if precision == "int8":
                continue  # below
            for package in packages:
                taking_part.append(Contestant(package, "torch", mode, precision))
                if compiled:
                    taking_part.append(Contestant(package, "torch", mode, precision, compiled=True))
                if graphs and on_gpu:
                    taking_part.append(Contestant(package, "torch", mode, precision, compiled=True, graphs=True))
            if mode == "predict":
                for runtime in runtimes:
                    if runtime == "onnxruntime" and precision == "bf16":
                        continue  # said once, below
                    taking_part += [
                        Contestant(package, runtime, mode, precision)
                        for package in ("resnets", "torchvision")
                        if package in packages
                    ]
    if "int8" in precisions and "openvino" in runtimes and find_spec("nncf") is None:
        skipped.append("networks are quantized for OpenVINO by nncf, which is not installed: pip install 'resnets[openvino]'")
        runtimes.remove("openvino")
    if "int8" in precisions:
        taking_part += [Contestant("resnets", runtime, "predict", "int8", file=QUANTIZED[runtime]) for runtime in runtimes]
    for path in quantized if "predict" in modes else ():
        reader = _RUNTIMES.get(path.suffix)
        if reader is None:
            raise UserError(f"{path} is no ONNX (.onnx) or OpenVINO (.xml) file; resnets export writes both")
        taking_part.append(Contestant("resnets", reader, "predict", "int8", file=str(path.resolve())))
    if "onnxruntime" in runtimes and "bf16" in precisions:
        skipped.append("onnxruntime has no convolutions in bf16 on CPUs")
    return taking_part, skipped


def peer_names(spec: NetworkSpec) -> dict[str, str]:
    """The name under which torchvision and timm have the network of `spec`, with any number of classes; packages without are left out."""
    from ..weights.adapt import differences
    from ..weights.layouts import LAYOUTS

    found = {}
    for package in ("torchvision", "timm"):
        if package == "torchvision" and spec.in_channels != 3:
            continue
        for name, ours in LAYOUTS[package].peers.items():
            if not differences(get_spec(ours), spec):
                found[package] = name
                break
    return found
