"""Activation memory: by hand on a small network, and against what the backward graph of a real run holds."""

import pytest
import torch
from torch import Tensor, nn

from resnets.inspection.memory import activation_bytes
from resnets.networks import NetworkSpec, build, get_spec

SMALL = NetworkSpec(
    blocks=(1, 1), width=4, stem="cifar", stem_width=4, num_classes=3, in_channels=1, input_size=8, shortcut="A", norm="batch"
)


def test_a_small_network_by_hand() -> None:
    map_8, map_4 = 4 * 8 * 8 * 4, 8 * 4 * 4 * 4  # bytes of a map of 4 channels at 8 x 8, of 8 channels at 4 x 4
    assert activation_bytes(SMALL) == {
        # the image, kept by the convolution; the convolution's output, kept by the norm; the ReLU's output
        "conv1": 8 * 8 * 4 + 2 * map_8,
        # conv1's input is kept already; outputs of conv1, ReLU, conv2, and the sum after its ReLU
        "conv2_x": 4 * map_8,
        # the same at half the size; subsampling and padding keep nothing
        "conv3_x": 4 * map_4,
        # the pooled features, for the classifier's weights
        "head": 8 * 4,
    }


def _graph_bytes(outputs: Tensor, own: set[int]) -> int:
    """Bytes of all tensors that the nodes after `outputs` hold, each storage once."""
    storages: dict[int, int] = {}
    waiting, seen = [outputs.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        for name in dir(node):
            if name.startswith("_saved_"):
                value = getattr(node, name)
                for tensor in value if isinstance(value, (list, tuple)) else [value]:
                    if isinstance(tensor, Tensor):
                        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(size for pointer, size in storages.items() if pointer not in own)


@pytest.mark.parametrize(
    "name",
    [
        "resnet18:width=4,stem_width=4",
        "resnet50:width=4,stem_width=4",
        "cifar-preact-resnet20",
        "cifar-plain20",
        "se-resnet50:width=16",
        "resnet50-d:width=4,stem_width=8",
        "cifar-resnet20:join=exclusive-gating",
        "cifar-resnet20:activation_order=relu-before-addition",
        "cifar-resnet20:norm=frozen-batch",
        "cifar-resnet20:norm=group",
    ],
)
def test_the_backward_graph_of_a_real_run_holds_as_much(name: str) -> None:
    spec = get_spec(name, input_size=32, num_classes=5)
    network = build(spec).train()
    own = {value.untyped_storage().data_ptr() for value in network.state_dict(keep_vars=True).values()}
    with_batch = {n: _graph_bytes(network(torch.randn(n, 3, 32, 32)), own) for n in (3, 4)}
    assert sum(activation_bytes(spec).values()) == with_batch[4] - with_batch[3]


def test_checkpointing_keeps_less_and_size_counts() -> None:
    spec = get_spec("cifar-resnet56")
    kept = sum(activation_bytes(spec).values())
    assert sum(activation_bytes(spec.updated(gradient_checkpointing=True)).values()) < 0.5 * kept
    assert activation_bytes(spec, 64)["conv2_x"] == 4 * activation_bytes(spec)["conv2_x"]


def test_images_that_are_too_small() -> None:
    with pytest.raises(ValueError, match="cannot take images of 20 pixels"):
        activation_bytes(get_spec("inception-v4"), 20)


def test_counting_leaves_no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []

    def remember(spec: NetworkSpec) -> nn.Module:
        built.append(build(spec))
        return built[-1]

    monkeypatch.setattr("resnets.inspection.memory.build", remember)
    activation_bytes(SMALL)
    assert not any(module._forward_pre_hooks for module in built[0].modules())
