"""The precision that "auto" means: one rule for training, evaluation, studies and prediction. Importing it loads no torch.

bf16 halves the bytes and, where the device multiplies it, doubles the arithmetic. Elsewhere it is emulated: a ResNet-18 step in bf16 takes
more than twice the time of fp32 on a processor with AVX-512 and without bf16 instructions.
"""

from __future__ import annotations

from .machine import multiplies_bf16


def native_bf16(device: str) -> bool:
    """Whether a kind of device ("cpu", "cuda", "mps") multiplies bfloat16 numbers itself."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported(False))
    if device == "cpu":
        import torch

        # torch's own library has to have the kernels too, not only the processor the instructions.
        return multiplies_bf16() and torch._C._has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def resolved_precision(wanted: str, device: str) -> tuple[str, str]:
    """The precision that computes on a kind of device, and why.

    Args:
        wanted: "auto", or the precision itself.
    """
    if wanted != "auto":
        return wanted, "as asked"
    if native_bf16(device):
        return "bf16", f"this {_NAMES.get(device, device)} multiplies it itself"
    return "fp32", f"this {_NAMES.get(device, device)} has no bf16 instructions"


def warned_precision(wanted: str, device: str) -> str | None:
    """One line where a precision was asked for that the device only emulates, or None."""
    if wanted == "bf16" and device == "cpu" and not native_bf16(device):
        return "precision bf16 was asked for, but this processor has no bf16 instructions and emulates it; fp32 would be faster"
    return None


_NAMES = {"cpu": "processor", "cuda": "GPU"}
