"""The networks go through torch.compile in one graph, torch.export with a free batch size, and torch.fx, and compute the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from resnets.networks import Network, NetworkSpec, build, get_spec
from resnets.networks.layers import FrozenBatchNorm

BASE = {"blocks": [1, 2], "width": 8, "stem_width": 8, "stem": "cifar", "num_classes": 5, "input_size": 16}
SPECS: dict[str, NetworkSpec] = {
    name: NetworkSpec.model_validate({**BASE, **fields})
    for name, fields in {
        "original": {"stem": "imagenet", "residual": "bottleneck", "cardinality": 2},
        "option-a": {"shortcut": "A"},
        "preactivation": {"activation_order": "full-preactivation", "projection_norm": False},
        "relu-only": {"activation_order": "relu-only-preactivation", "stem_activation": False},
        "d": {"stem": "deep", "shortcut": "average-pool", "squeeze_excitation": 4, "stochastic_depth": 0.2},
        "gates": {"join": "exclusive-gating", "norm": "group"},
        "frozen": {"norm": "frozen-batch", "output_stride": 4, "stem": "imagenet"},
        "three-dimensional": {"dims": 3, "shortcut": "average-pool", "input_size": 5},
        "one-dimensional": {"dims": 1, "shortcut": "A", "squeeze_excitation": 2},
        "plain": {"shortcut": "none", "head": "classes", "num_classes": 0},
        "policy-value": {"blocks": [2], "head": "policy-value"},
    }.items()
} | {"inception-resnet": get_spec("inception-resnet-v2", blocks=(1, 1, 2), num_classes=5, input_size=75, residual_scale=0.2)}


def prepared(name: str) -> tuple[Network, Tensor, Tensor]:
    """A network in eval mode with statistics that do something, and two batches of different size."""
    torch.manual_seed(0)
    network = build(SPECS[name]).eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    sides = (network.spec.input_size,) * network.spec.dims
    return network, torch.randn(2, 3, *sides), torch.randn(3, 3, *sides)


@pytest.mark.parametrize("name", ["original", "option-a", "preactivation", "d", "frozen", "inception-resnet"])
def test_compile_makes_one_graph(name: str) -> None:
    network, x, _ = prepared(name)
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(x), network(x))


@pytest.mark.parametrize("order", ["original", "full-preactivation"])
def test_compiled_training_has_the_same_gradients(order: str) -> None:
    torch.manual_seed(0)
    network = build(SPECS["original"].updated(activation_order=order)).double().train()
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    gradients = []
    torch.compiler.reset()
    for module in (network, torch.compile(network, backend="aot_eager", fullgraph=True)):
        network.zero_grad(set_to_none=True)
        module(x).square().sum().backward()
        gradients.append([p.grad for p in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_checkpointing_compiles_in_one_graph_and_keeps_its_benefit() -> None:
    """Same gradients and statistics, dropout included; each batch counts once; and far less is kept for the backward pass."""
    spec = get_spec("cifar-resnet56", dropout=0.2, width=4, stem_width=4)
    plain, frugal = build(spec).train(), build(spec.updated(gradient_checkpointing=True)).train()
    frugal.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 16, 16)
    kept = []
    for network in (plain, frugal):
        torch.compiler.reset()
        torch.manual_seed(1)
        y = torch.compile(network, backend="aot_eager", fullgraph=True)(x)
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in y.grad_fn.saved_tensors}
        kept.append(sum(storages.values()))
        y.square().sum().backward()
    assert kept[1] < 0.5 * kept[0]
    gradients = dict(frugal.named_parameters())
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[name].grad, parameter.grad)
    state = frugal.state_dict()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(state[name], value)
    assert int(state["conv1.norm.num_batches_tracked"]) == 1


@pytest.mark.parametrize("name", ["original", "option-a", "preactivation", "d", "inception-resnet"])
def test_export_with_a_free_batch_size(name: str) -> None:
    network, x, other = prepared(name)
    program = torch.export.export(network, (x,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
    with torch.no_grad():
        torch.testing.assert_close(program.module()(other), network(other))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("training", [False, True])
def test_symbolic_trace(name: str, training: bool) -> None:
    network, x, other = prepared(name)
    traced = torch.fx.symbolic_trace(network.train(training))
    for batch in (x, other):
        results = []
        for module in (network, traced):  # they share their parameters and statistics
            torch.manual_seed(1)
            results.append(module(batch))
        torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("name", ["original", "option-a", "preactivation", "inception-resnet"])
def test_torchvisions_feature_extractor(name: str) -> None:
    network, x, _ = prepared(name)
    stage = network.spec.stage_names[0]
    last = len(getattr(network, stage)) - 1
    node = f"{stage}.{last}.shortcut.join" if network.spec.preactivated else f"{stage}.{last}.after"
    extractor = create_feature_extractor(network, return_nodes={node: "map", "head.fc": "logits"})
    with torch.no_grad():
        found = extractor(x)
        torch.testing.assert_close(found["map"], network.features(x)[stage])
        torch.testing.assert_close(found["logits"], network(x))
