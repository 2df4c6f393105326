"""The whole network: its maps, dilation, dimensions, norms, heads and what happens in training."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from resnets.networks import Network, NetworkSpec, build, get_spec
from resnets.networks.layers import FrozenBatchNorm, StochasticDepth

SMALL = NetworkSpec(blocks=(1, 2, 1), width=8, stem="cifar", stem_width=8, num_classes=5, input_size=32)


def randomized(network: Network) -> Network:
    """float64, eval mode, and norms that do something."""
    network = network.double().eval()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, FrozenBatchNorm)):
            for value, low in ((module.weight, 0.5), (module.running_var, 0.5), (module.bias, -0.5), (module.running_mean, -0.5)):
                value.data.uniform_(low, low + 1)
    return network


MAPS = [
    # network, size, {map: (channels, side)}
    ("resnet18", 64, {"conv1": (64, 32), "conv2_x": (64, 16), "conv3_x": (128, 8), "conv4_x": (256, 4), "conv5_x": (512, 2)}),
    ("resnet50", 64, {"conv1": (64, 32), "conv2_x": (256, 16), "conv3_x": (512, 8), "conv4_x": (1024, 4), "conv5_x": (2048, 2)}),
    ("resnet50:output_stride=8", 64,
     {"conv1": (64, 32), "conv2_x": (256, 16), "conv3_x": (512, 8), "conv4_x": (1024, 8), "conv5_x": (2048, 8)}),
    ("resnet18:output_stride=16", 64,
     {"conv1": (64, 32), "conv2_x": (64, 16), "conv3_x": (128, 8), "conv4_x": (256, 4), "conv5_x": (512, 4)}),
    ("resnet18:output_stride=4", 64,
     {"conv1": (64, 32), "conv2_x": (64, 16), "conv3_x": (128, 16), "conv4_x": (256, 16), "conv5_x": (512, 16)}),
    ("resnet18-d:stem_stride=1", 64,
     {"conv1": (64, 64), "conv2_x": (64, 32), "conv3_x": (128, 16), "conv4_x": (256, 8), "conv5_x": (512, 4)}),
    ("cifar-resnet20", 32, {"conv1": (16, 32), "conv2_x": (16, 32), "conv3_x": (32, 16), "conv4_x": (64, 8)}),
    ("wrn-16-4", 32, {"conv1": (16, 32), "conv2_x": (64, 32), "conv3_x": (128, 16), "conv4_x": (256, 8)}),
    ("inception-v4", 299, {"conv1": (384, 35), "conv2_x": (384, 35), "conv3_x": (1024, 17), "conv4_x": (1536, 8)}),
    ("inception-resnet-v1", 299, {"conv1": (256, 35), "conv2_x": (256, 35), "conv3_x": (896, 17), "conv4_x": (1792, 8)}),
    ("inception-resnet-v2", 299, {"conv1": (320, 35), "conv2_x": (320, 35), "conv3_x": (1088, 17), "conv4_x": (1536, 8)}),
    ("alphazero-2x16", 19, {"conv1": (16, 19), "conv2_x": (16, 19)}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "maps"), MAPS, ids=[m[0] for m in MAPS])
def test_features_have_the_papers_names_channels_and_sizes(name: str, size: int, maps: dict[str, tuple[int, int]]) -> None:
    with torch.device("meta"):
        network = build(get_spec(name))
        features = network.eval().features(torch.empty(1, network.spec.in_channels, size, size))
    assert {key: (value.shape[1], value.shape[2]) for key, value in features.items()} == maps
    assert all(value.shape[2] == value.shape[3] for value in features.values())
    assert list(features) == ["conv1", *network.stage_names]
    assert network.feature_channels == {key: channels for key, (channels, _) in maps.items()}


def test_logits_are_the_classifier_of_the_last_features_mean() -> None:
    network = randomized(build(SMALL))
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    last = network.features(x)["conv4_x"]
    fc = network.head.fc
    torch.testing.assert_close(network(x), last.mean((2, 3)) @ fc.weight.T + fc.bias)


def test_features_are_not_changed_by_what_follows() -> None:
    """Each map keeps its values although later layers work in place."""
    for order in ("original", "relu-before-addition", "relu-only-preactivation", "full-preactivation"):
        network = randomized(build(SMALL.updated(activation_order=order)))
        x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
        whole = network.features(x)
        step = network.conv1(x)
        torch.testing.assert_close(whole["conv1"], step)
        step = network.conv2_x(network.pool(step))
        torch.testing.assert_close(whole["conv2_x"], step.clone())


def test_without_classes_the_network_gives_pooled_features() -> None:
    network = randomized(build(SMALL.updated(num_classes=0)))
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network(x), network.features(x)["conv4_x"].mean((2, 3)))


# dimensions ------------------------------------------------------------------------------------------------------------------


def flattened(name: str, kernel: Tensor, dims: int) -> Tensor:
    """The (dims)-dimensional kernel that acts on thin inputs (one position in the last dimension) as this one of more dimensions."""
    return kernel[..., kernel.shape[-1] // 2] if kernel.dim() == dims + 3 else kernel


THIN: list[dict[str, object]] = [
    {"stem": "imagenet", "residual": "bottleneck", "cardinality": 2},
    {"stem": "deep", "squeeze_excitation": 2},
    {"shortcut": "A", "activation_order": "relu-before-addition"},
    {"activation_order": "full-preactivation", "join": "exclusive-gating"},
    {"norm": "frozen-batch", "output_stride": 4},
    {"shortcut": "average-pool"},  # in three dimensions, with maps thinner than the pool's window, which torch's own pool refuses
]


@pytest.mark.parametrize("fields", THIN)
@pytest.mark.parametrize("dims", [1, 2])
def test_fewer_dimensions_are_a_thin_input_of_more(dims: int, fields: dict[str, object]) -> None:
    """On an input of size 1 in the last dimension only the kernels' middle counts: an independent network of one dimension more."""
    spec = SMALL.updated(**fields)
    more = randomized(build(spec.updated(dims=dims + 1)))
    fewer = build(spec.updated(dims=dims)).double().eval()
    fewer.load_state_dict({name: flattened(name, value, dims) for name, value in more.state_dict().items()})
    x = torch.randn(2, 3, *(17, 12)[:dims], dtype=torch.float64)
    torch.testing.assert_close(fewer(x), more(x[..., None]))
    assert {k: v.shape for k, v in fewer.features(x).items()} == {k: v.shape[:-1] for k, v in more.features(x[..., None]).items()}


@pytest.mark.parametrize("in_channels", [1, 7])
def test_in_channels(in_channels: int) -> None:
    network = build(SMALL.updated(in_channels=in_channels))
    assert network(torch.randn(2, in_channels, 8, 8)).shape == (2, 5)
    assert network.conv1.conv.weight.shape[1] == in_channels


# dilation: parity with torchvision and timm is in tests/weights/test_layout_parity.py ----------------------------------------


@pytest.mark.parametrize(
    ("residual", "expected"),
    [
        # (dilations of F's 3x3 convolutions) of the units of each stage, at output stride 1 from the second stage on
        ("basic", [[(1, 1)], [(1, 2), (2, 2)], [(2, 4)]]),
        ("bottleneck", [[(1,)], [(1,), (2,)], [(2,)]]),
    ],
)
def test_dilation_replaces_stride(residual: str, expected: list[list[tuple[int, ...]]]) -> None:
    network = build(SMALL.updated(residual=residual, stem="imagenet", output_stride=4))
    found = [
        [
            tuple(m.dilation[0] for m in unit.residual.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
            for unit in getattr(network, stage)
        ]
        for stage in network.stage_names
    ]
    assert found == expected
    stages = nn.ModuleList([getattr(network, stage) for stage in network.stage_names])
    assert all(m.stride == (1, 1) for m in stages.modules() if isinstance(m, nn.Conv2d))


# norms -----------------------------------------------------------------------------------------------------------------------


def test_group_norm_divides_any_width() -> None:
    network = build(SMALL.updated(norm="group", width=24, stem_width=20, norm_groups=16))
    groups = {m.num_channels: m.num_groups for m in network.modules() if isinstance(m, nn.GroupNorm)}
    assert groups == {20: 4, 24: 8, 48: 16, 96: 16}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_frozen_batch_norm_is_batch_norm_in_eval_mode_for_ever() -> None:
    trained = randomized(build(SMALL))
    frozen = build(SMALL.updated(norm="frozen-batch")).double()
    frozen.load_state_dict(trained.state_dict())
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    before = copy.deepcopy(frozen.state_dict())
    torch.testing.assert_close(frozen.train()(x), trained(x))
    frozen(x).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in frozen.state_dict().items())
    assert not [name for name, _ in frozen.named_parameters() if "norm" in name]


def test_norm_epsilon_and_momentum_reach_every_norm() -> None:
    network = build(SMALL.updated(norm_epsilon=1e-3, norm_momentum=0.03))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 11  # the stem, two in each of four units, two projections
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.03)}


# stochastic depth ------------------------------------------------------------------------------------------------------------


def test_drop_probability_grows_linearly() -> None:
    """1603.09382 §3: p_l = l / L * p_L, l = 1 ... L."""
    network = build(SMALL.updated(stochastic_depth=0.5))
    found = [m.probability for m in network.modules() if isinstance(m, StochasticDepth)]
    assert found == pytest.approx([0.125, 0.25, 0.375, 0.5])


def test_stochastic_depth_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    x = torch.ones(20_000, 3, 2)
    result = StochasticDepth(0.3, dims=1).train()(x)
    assert torch.equal(result, result[:, :1, :1].expand_as(result))
    assert sorted(set(result[:, 0, 0].tolist())) == pytest.approx([0.0, 1 / 0.7])
    sigma = math.sqrt(0.3 / 0.7 / len(x))
    assert float(result[:, 0, 0].mean()) == pytest.approx(1.0, abs=5 * sigma)


def test_stochastic_depth_is_off_in_eval_mode() -> None:
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(StochasticDepth(0.9, dims=2).eval()(x), x)


# gradient checkpointing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["original", "relu-before-addition", "relu-only-preactivation", "full-preactivation"])
def test_checkpointing_changes_nothing_but_memory(order: str) -> None:
    """Gradients and running statistics bit for bit those of the plain run, with dropout and stochastic depth drawing as there."""
    spec = SMALL.updated(blocks=(2, 5, 3), activation_order=order, dropout=0.3, stochastic_depth=0.4)
    torch.manual_seed(0)
    plain = build(spec).double().train()
    frugal = build(spec.updated(gradient_checkpointing=True)).double().train()
    frugal.load_state_dict(plain.state_dict())
    calls = []
    frugal.conv3_x[1].register_forward_hook(lambda *_: calls.append(1))
    for step in range(2):
        x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
        for network in (plain, frugal):
            torch.manual_seed(step + 1)
            network(x).square().sum().backward()
    assert len(calls) == 4  # each of two steps ran it and recomputed it
    theirs = dict(frugal.named_parameters())
    assert all(p.grad is not None and torch.equal(p.grad, theirs[name].grad) for name, p in plain.named_parameters())
    state = frugal.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    assert int(state["conv1.norm.num_batches_tracked"]) == 2


def test_checkpointing_is_off_without_gradients() -> None:
    network = build(SMALL.updated(gradient_checkpointing=True)).train()
    calls = []
    network.conv2_x[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        network(torch.randn(2, 3, 8, 8))
    assert calls == [1]


# heads and initialisation --------------------------------------------------------------------------------------------------------


def test_policy_value_head_by_hand() -> None:
    network = randomized(build(get_spec("alphazero-1x8", input_size=5, in_channels=2, num_classes=26)))
    x = torch.randn(3, 2, 5, 5, dtype=torch.float64)
    policy, value = network(x)
    assert policy.shape == (3, 26)
    assert value.shape == (3,)
    board, head = network.features(x)["conv2_x"], network.head

    def planes(branch: nn.Module) -> Tensor:
        """A 1x1 convolution and its norm, as sums over channels."""
        mixed = torch.einsum("nchw,kc->nkhw", board, branch.conv.weight[:, :, 0, 0])
        norm = branch.norm
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shifted = (mixed - norm.running_mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
        return shifted.clamp(min=0).reshape(3, -1)

    torch.testing.assert_close(policy, planes(head.policy) @ head.policy_fc.weight.T + head.policy_fc.bias)
    hidden = (planes(head.value) @ head.value_fc1.weight.T + head.value_fc1.bias).clamp(min=0)
    assert hidden.shape == (3, 256)
    torch.testing.assert_close(value, torch.tanh(hidden @ head.value_fc2.weight[0] + head.value_fc2.bias))


def test_policy_value_head_refuses_another_board() -> None:
    network = build(get_spec("alphazero-1x8", input_size=5, in_channels=2, num_classes=26))
    with pytest.raises(ValueError, match=r"built for 25 board points, but got a map of \(6, 5\)"):
        network.eval()(torch.randn(1, 2, 6, 5))


@pytest.mark.parametrize(("initialization", "fan"), [("he-fan-out", 64 * 9), ("he-fan-in", 32 * 9)])
def test_he_initialisation_has_its_variance(initialization: str, fan: int) -> None:
    """1502.01852, eq. 10 and 14: variance 2 / fan. 18,432 weights estimate it to about 1 %."""
    torch.manual_seed(0)
    network = build(SMALL.updated(initialization=initialization, width=32, conv_bias=True))
    conv = network.conv3_x[0].residual.conv1
    assert conv.weight.shape[:2] == (64, 32)
    assert float(conv.weight.detach().var()) == pytest.approx(2 / fan, rel=0.05)
    assert not conv.bias.any()


def test_torchs_own_initialisation_is_left_alone() -> None:
    torch.manual_seed(0)
    network = build(SMALL.updated(initialization="torch", width=32))
    bound = 1 / math.sqrt(32 * 9)  # uniform in +-1 / sqrt(fan-in)
    weight = network.conv3_x[0].residual.conv1.weight
    assert 0.99 * bound < float(weight.detach().abs().max()) <= bound


def test_units_are_in_order() -> None:
    network = build(SMALL)
    assert network.units() == [*network.conv2_x, *network.conv3_x, *network.conv4_x]


def test_repr_names_the_spec() -> None:
    assert "blocks=(1, 2, 1)" in repr(build(SMALL))
