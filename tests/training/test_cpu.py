"""The faster layers compute what the plain ones do."""

import copy

import pytest
import torch

import resnets
from resnets.training.cpu import ReLUByLeakyKernel, use_faster_layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("inplace", [True, False])
def test_values_and_gradients_are_equal_to_the_last_bit(dtype: torch.dtype, inplace: bool) -> None:
    torch.manual_seed(0)
    values = torch.randn(4, 8, 5, 5).to(dtype)
    values[0, 0, 0] = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), 1e-30])
    gradient = torch.randn_like(values)
    results = []
    for layer in (torch.nn.ReLU(inplace), ReLUByLeakyKernel(inplace)):
        x = values.clone().requires_grad_()
        y = layer(x * 1)
        y.backward(gradient)
        results.append((y.detach() + 0, x.grad))
    finite = torch.isfinite(values)
    assert torch.equal(results[0][0][finite], results[1][0][finite])
    assert torch.equal(results[0][1], results[1][1])  # type: ignore[arg-type]


def test_a_network_keeps_its_state_and_its_answers() -> None:
    torch.manual_seed(0)
    plain = resnets.create_model("cifar-resnet8")
    fast = copy.deepcopy(plain)
    use_faster_layers(fast)
    assert sum(isinstance(m, ReLUByLeakyKernel) for m in fast.modules()) == 7
    assert fast.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(fast(images), plain(images))
    assert torch.equal(fast.eval()(images), plain.eval()(images))
