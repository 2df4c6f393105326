"""Batch norms with what follows them in one kernel: equal to PyTorch's operations, forward and back.

test_fused_norms.py runs this file in a process of its own: on a GPU where there is one, and elsewhere in Triton's interpreter, which
has to be asked for before Triton is imported.
"""

from __future__ import annotations

import copy
import os

import pytest
import torch
from torch import Tensor, nn

import resnets
from resnets.training.norms import fused_norms
from resnets.training.norms.fused_norms import FusedNorm, fuse_norms

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROUNDING = {torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Largest error of a value that is stored in each type, as a share of the largest value."""


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the kernels have every map."""
    if DEVICE.type == "cpu":
        assert os.environ.get("TRITON_INTERPRET") == "1"
        monkeypatch.setattr(fused_norms, "runs_kernels", lambda x: True)


def drawn(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Values whose channels have means and deviations of their own."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator) * torch.linspace(0.3, 3, shape[1]).view(1, -1, 1, 1)
    values += torch.linspace(4, -4, shape[1]).view(1, -1, 1, 1)
    return values.to(DEVICE, dtype).to(memory_format=torch.channels_last)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize(("adds", "relu"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(5, 20, 7, 9), (3, 130, 4, 4), (2, 1, 5, 3)])
def test_values_gradients_and_statistics_are_those_of_float64(
    shape: tuple[int, ...], adds: bool, relu: bool, dtype: torch.dtype
) -> None:
    plain = nn.BatchNorm2d(shape[1], momentum=0.3, eps=1e-3).to(DEVICE)
    with torch.no_grad():
        plain.weight.copy_(torch.linspace(-1, 2, shape[1]))
        plain.bias.copy_(torch.linspace(1, -1, shape[1]))
        plain.running_mean.fill_(0.7)  # type: ignore[union-attr]
    fused = FusedNorm(copy.deepcopy(plain), "nothing" if adds else "norm, relu")
    exact = copy.deepcopy(plain).double()
    x, shortcut, gradient = drawn(shape, dtype, 0), drawn(shape, dtype, 1), drawn(shape, dtype, 2)
    x.requires_grad_()
    shortcut.requires_grad_()
    known = x.detach().double().requires_grad_()
    known_shortcut = shortcut.detach().double().requires_grad_()
    y = fused.joined(x, shortcut, relu=relu) if adds else fused(x)
    expected = exact(known) + known_shortcut if adds else exact(known)
    # A value that is 0 but for rounding may have either sign there: its gradient goes through or does not.
    sure = (expected.abs() > 2 * ROUNDING[dtype] * expected.abs().max()) | torch.tensor(not relu)
    gradient = gradient * sure
    expected = expected.relu() if relu else expected
    y.backward(gradient)
    expected.backward(gradient.double())
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    pairs = {"y": (y, expected), "dx": (x.grad, known.grad), "dw": (fused.weight.grad, exact.weight.grad)}
    pairs["db"] = (fused.bias.grad, exact.bias.grad)
    if adds:
        pairs["dh"] = (shortcut.grad, known_shortcut.grad)
    for name, (ours, theirs) in pairs.items():
        assert ours is not None, name
        assert theirs is not None, name
        error = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert error < ROUNDING[dtype], (name, float(error))
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(fused, name).double(), getattr(exact, name), rtol=1e-4, atol=1e-5)
    assert fused.num_batches_tracked == 1


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "name",
    ["cifar-resnet8", "cifar-resnet8:residual=bottleneck", "cifar-preact-resnet20:blocks=[1,1,1]", "cifar-resnet8:gradient_checkpointing=True",
     "cifar-plain8", "cifar-resnet8:activation_order=bn-after-addition", "cifar-resnet8:squeeze_excitation=4,shortcut=B"],
)  # fmt: skip
def test_a_fused_network_is_the_same_function_with_the_same_state(name: str) -> None:
    torch.manual_seed(0)
    plain = resnets.create_model(name, in_channels=3, num_classes=4, width=8, stem_width=8).to(DEVICE)
    images, weights = torch.randn(6, 3, 8, 8, device=DEVICE), torch.randn(6, 4, device=DEVICE)
    fused = copy.deepcopy(plain)
    assert fuse_norms(fused) > 0
    fused = copy.deepcopy(fused)  # as the moving average has it
    assert list(fused.state_dict()) == list(plain.state_dict())
    for network in (plain, fused):
        network.train()
        (network(images) * weights).sum().backward()
    for (key, ours), theirs in zip(fused.named_parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}")
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(fused.state_dict()[key], value, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(fused.eval()(images), plain.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("kernels")
def test_a_single_value_a_channel_is_refused() -> None:
    norm = FusedNorm(nn.BatchNorm2d(3).to(DEVICE), "norm, relu")
    with pytest.raises(ValueError, match="single value per channel"):
        norm(torch.ones(1, 3, 1, 1, device=DEVICE))


@pytest.mark.usefixtures("kernels")
def test_what_is_not_a_number_stays_so() -> None:
    """The run must see it, also after a ReLU."""
    x = drawn((2, 4, 3, 3), torch.float32, 0)
    x[0, 1, 0, 0] = torch.nan
    y = FusedNorm(nn.BatchNorm2d(4).to(DEVICE), "norm, relu")(x)
    assert y[:, 1].isnan().all()
    assert y[:, [0, 2, 3]].isfinite().all()
