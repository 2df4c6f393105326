"""Fine-tuning: what stays as it was to the last bit, what changes, and how fast; class balance against torch's own and arithmetic."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import resnets
from resnets.classification.balance import balanced_weights, drawn_equally, weights_of
from resnets.classification.fine_tuning import frozen_parts, rate_factors
from resnets.classification.recipe import Recipe
from resnets.classification.session import ClassificationSession as Session
from resnets.classification.start import normalization_of
from resnets.networks import Network, get_spec
from resnets.networks.zoo import ROWS, spell
from resnets.tasks import open_session, resume, train
from resnets.training.checkpoint import Position
from resnets.training.loop import train_loop
from resnets.training.optim.optimizers import build_optimizer
from resnets.training.run import RunDirectory
from resnets.training.settings import Optimizer
from resnets.weights.model_file import read_description
from resnets.weights.pretrained import read_weights


def quiet(message: str) -> None:
    """Takes the messages of a session that no test reads."""


@pytest.fixture(scope="module")
def model(small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of ours, for the same ten digits; its norms' statistics are no more those of a fresh network."""
    recipe = small_recipe.updated(max_steps=8, evaluation__every=0, report=False)
    return train(recipe.updated(output=tmp_path_factory.mktemp("start") / "run")).model_path


@pytest.fixture
def recipe(small_recipe: Recipe, model: Path) -> Recipe:
    return small_recipe.updated(weights=str(model), max_steps=4, evaluation__every=0, precision="fp32", report=False)


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


def run_steps(session: Session, position: Position | None = None) -> None:
    train_loop(session, position or Position(), lambda _: None, lambda _at, _must: None, lambda _result, _epoch: None, 0.0)


@pytest.mark.parametrize("extra", [{}, {"averaging": {"decay": 0.9}, "accumulation": 2}, {"network": "cifar-resnet8:dropout=0.3"}])
@pytest.mark.parametrize("freeze", ["conv1", "conv3_x", "body"])
def test_frozen_parts_stay_to_the_last_bit_and_all_others_learn(recipe: Recipe, freeze: str, extra: dict[str, Any]) -> None:
    session = open_session(recipe.updated(fine_tuning={"freeze": freeze}, optimizer={"weight_decay": 0.1}, **extra), quiet)
    before = snapshot(session.network)
    run_steps(session)
    moved = changed(session.network, before)
    frozen = {"conv1": ("conv1",), "conv3_x": ("conv1", "conv2_x", "conv3_x"), "body": ("conv1", "conv2_x", "conv3_x", "conv4_x")}[
        freeze
    ]
    assert not [name for name in moved if name.startswith(frozen)]
    assert {name for name in before if not name.startswith(frozen)} == moved
    assert {p for group in session.step.optimizer.param_groups for p in group["params"]} == {
        p for p in session.network.parameters() if p.requires_grad
    }
    if session.average is not None:
        assert not [name for name in changed(session.average.average, before) if name.startswith(frozen)]


def test_a_frozen_part_has_no_dropout_and_stays_so_after_an_evaluation(recipe: Recipe) -> None:
    session = open_session(recipe.updated(network="cifar-resnet8:dropout=0.5", fine_tuning={"freeze": "conv2_x"}), quiet)
    for _ in range(2):
        session.network.eval()
        session.network.train()
        modes = {
            name: {m.training for module in modules for m in module.modules()} for name, modules in session.network.parts.items()
        }
        assert modes == {"conv1": {False}, "conv2_x": {False}, "conv3_x": {True}, "conv4_x": {True}, "head": {True}}


@pytest.mark.parametrize(
    ("bn", "statistics", "affine"), [("train", True, True), ("stats-frozen", False, True), ("frozen", False, False)]
)
def test_what_norms_do(recipe: Recipe, bn: str, statistics: bool, affine: bool) -> None:
    session = open_session(recipe.updated(bn=bn), quiet)
    before = snapshot(session.network)
    run_steps(session)
    moved = changed(session.network, before)
    assert {"running" in name for name in moved} == ({True, False} if statistics else {False})
    norms = {
        f"{name}.{kind}"
        for name, m in session.network.named_modules()
        if isinstance(m, nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    assert norms
    assert norms <= moved if affine else not norms & moved
    assert {f"{name}.weight" for name, m in session.network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))} <= moved


def test_frozen_statistics_are_used(recipe: Recipe) -> None:
    session = open_session(recipe.updated(bn="stats-frozen"), quiet)
    images = torch.randn(4, 1, 8, 8)
    expected = copy.deepcopy(session.network).eval()(images)
    torch.testing.assert_close(session.network.train()(images), expected)
    assert not torch.allclose(open_session(recipe, quiet).network.train()(images), expected, atol=1e-2)


def test_the_head_learns_first(recipe: Recipe) -> None:
    session = open_session(recipe.updated(fine_tuning={"head_first": 0.5}, clip_norm=5.0), quiet)
    before, position = snapshot(session.network), Position()
    events: list[set[str]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["event"] in ("step", "progress"):
            events.append(changed(session.network, before))

    train_loop(session, position, listen, lambda _at, _must: None, lambda _result, _epoch: None, 0.0)
    assert events[0] == events[1] == {"head.fc.weight", "head.fc.bias"}
    assert events[2] == before.keys()


def test_head_first_resumes_exactly(recipe: Recipe, tmp_path: Path) -> None:
    recipe = recipe.updated(fine_tuning={"head_first": 0.5, "rate_decay": 0.5}, max_steps=6, log_every=1, averaging={"decay": 0.8})
    whole = open_session(recipe, quiet)
    run_steps(whole)
    for stop in (2, 3, 4):
        from resnets.training.checkpoint import load_checkpoint, save_checkpoint

        first = open_session(recipe, quiet)
        saved: list[int] = []

        def save(position: Position, _must: bool, first: Session = first, saved: list[int] = saved, stop: int = stop) -> None:
            if position.step == stop:
                save_checkpoint(tmp_path / f"{stop}.pt", first, position)
                saved.append(stop)

        first.recipe = recipe.updated(checkpoint_steps=1)
        train_loop(first, Position(), lambda _: None, save, lambda _result, _epoch: None, 0.0)
        assert saved == [stop]
        second = open_session(recipe, quiet)
        run_steps(second, load_checkpoint(tmp_path / f"{stop}.pt", second))
        assert whole.average is not None
        assert second.average is not None
        for ours, theirs in ((whole.network, second.network), (whole.average.average, second.average.average)):
            assert not changed(ours, snapshot(theirs))


def test_rates_fall_from_the_head_back_by_powers() -> None:
    network = resnets.create_model("resnet18:width=4,stem_width=4,num_classes=3")
    factors = rate_factors(network, 0.5)
    assert factors.keys() == set(network.parameters())
    for place, part in enumerate(["head", "conv5_x", "conv4_x", "conv3_x", "conv2_x", "conv1"]):
        assert {factors[p] for module in network.parts[part] for p in module.parameters()} == {0.5**place}
    for name in ("sgd", "adamw", "muon"):
        optimizer = build_optimizer(
            Optimizer(name=name, learning_rate=0.2, sgd_learning_rate=0.6, decay_norms_and_biases=False), network, factors
        )  # fmt: skip
        peaks = {p: group["peak"] for group in optimizer.param_groups for p in group["params"]}
        assert peaks.keys() == factors.keys()
        hidden = network.get_parameter("conv3_x.0.residual.conv1.weight")
        assert peaks[hidden] == pytest.approx(0.2 * 0.5**3)
        assert peaks[network.get_parameter("head.fc.bias")] == pytest.approx(0.6 if name == "muon" else 0.2)
        decays = {p.dim() > 1: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert decays == {True: 1e-4, False: 0.0}
    one = build_optimizer(Optimizer(), network, rate_factors(network, 1.0))
    assert len(one.param_groups) == len(build_optimizer(Optimizer(), network).param_groups) == 2


def test_transitions_and_the_final_convolution_belong_to_stages() -> None:
    with torch.device("meta"):
        network = Network(get_spec("inception-resnet-v2"))
    parts = network.parts
    assert list(parts) == ["conv1", "conv2_x", "conv3_x", "conv4_x", "head"]
    assert [p for modules in parts.values() for m in modules for p in m.parameters()] != []
    assert sum(p.numel() for modules in parts.values() for m in modules for p in m.parameters()) == sum(
        p.numel() for p in network.parameters()
    )
    assert frozen_parts(network, "conv2_x") == {"conv1", "conv2_x"}
    assert frozen_parts(network, "body") == parts.keys() - {"head"}


def test_freezing_what_is_not_there(recipe: Recipe) -> None:
    with pytest.raises(
        ValueError, match=r"freeze='conv7_x' is no part of this network; choose none, conv1, conv2_x, conv3_x, conv4_x, or"
    ):
        open_session(recipe.updated(fine_tuning={"freeze": "conv7_x"}), quiet)
    with pytest.raises(ValueError, match="would keep fresh, random weights"):
        open_session(Recipe(data="digits", network="cifar-resnet8", fine_tuning={"freeze": "conv1"}), quiet)
    with pytest.raises(ValueError, match="bn='frozen' keeps the statistics of pretrained weights"):
        open_session(Recipe(data="digits", network="cifar-resnet8", bn="frozen"), quiet)
    with pytest.raises(ValueError, match="bn='recalibrate' is about batch norms, but this network has norm='group'"):
        open_session(Recipe(data="digits", network="cifar-resnet8:norm=group", bn="recalibrate"), quiet)


def test_group_norms_take_the_place_of_batch_norms(recipe: Recipe, model: Path) -> None:
    said: list[str] = []
    session = open_session(recipe.updated(bn="group"), said.append)
    assert session.spec.norm == "group"
    assert not [m for m in session.network.modules() if isinstance(m, nn.BatchNorm2d)]
    theirs = resnets.load_model(model).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in session.network.state_dict().items())
    assert "group norms take the place of the batch norms" in " ".join(said)
    run_steps(session)


# Weights ------------------------------------------------------------------------------------------


def test_fine_tuning_from_another_packages_file(small_recipe: Recipe, tmp_path: Path) -> None:
    """torchvision's layout, 7 classes, 3 channels, another network than the recipe's: all follow, and the run needs the file no more."""
    torch.manual_seed(0)
    peer = torchvision.models.resnet18(num_classes=7)
    file = tmp_path / "peer.safetensors"
    save_file(peer.state_dict(), file)
    events: list[dict[str, Any]] = []
    recipe = small_recipe.updated(
        weights=str(file), max_steps=1, batch_size=16, evaluation__every=0, precision="fp32", report=False, output=tmp_path / "run"
    )
    run = train(recipe.updated(fine_tuning={"freeze": "conv4_x"}), [events.append])
    said = " ".join(event["message"] for event in events if event["event"] == "message")
    assert "the weights are for 7 classes; the head is freshly initialised for 10" in said
    stored = RunDirectory(run.directory).read_recipe(Recipe)
    assert (stored.network, stored.weights) == ("resnet18", str(file))
    trained = resnets.load_model(run.model_path)
    assert trained.spec.num_classes == 10
    torch.testing.assert_close(trained.get_parameter("conv1.conv.weight"), peer.conv1.weight.sum(1, keepdim=True))
    assert torch.equal(trained.get_parameter("conv2_x.0.residual.conv1.weight"), peer.layer1[0].conv1.weight)
    file.unlink()
    (run.directory / "checkpoint.pt").unlink()
    assert resume(run.directory).metrics["top1"] == run.metrics["top1"]
    again = resnets.load_model(run.model_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trained.state_dict().items())


def test_the_head_is_kept_for_the_same_classes_alone(recipe: Recipe, model: Path, tmp_path: Path) -> None:
    theirs = resnets.load_model(model)
    kept = open_session(recipe, quiet)
    assert torch.equal(kept.network.get_parameter("head.fc.weight"), theirs.get_parameter("head.fc.weight"))
    from resnets.weights.model_file import ModelDescription, save_model

    description = read_description(model)
    others = ModelDescription(description.spec, tuple("abcdefghij"), description.preprocessing)
    save_model(theirs, tmp_path / "others.safetensors", others)
    said: list[str] = []
    fresh = open_session(recipe.updated(weights=str(tmp_path / "others.safetensors")), said.append)
    assert not torch.equal(fresh.network.get_parameter("head.fc.weight"), theirs.get_parameter("head.fc.weight"))
    assert torch.equal(fresh.network.get_parameter("conv1.conv.weight"), theirs.get_parameter("conv1.conv.weight"))
    assert "the weights are for other classes (a, b, c, ..., not 0, 1, 2, ...); the head is freshly initialised" in said[0]


def test_mean_and_std_are_those_of_the_weights(recipe: Recipe, model: Path, tmp_path: Path) -> None:
    from resnets.weights.model_file import ModelDescription, save_model

    description = read_description(model)
    seen = description.preprocessing.model_copy(update={"mean": (0.4,), "std": (0.2,)})
    save_model(resnets.load_model(model), tmp_path / "m.safetensors", ModelDescription(description.spec, description.classes, seen))
    recipe = recipe.updated(weights=str(tmp_path / "m.safetensors"))
    session = open_session(recipe, quiet)
    assert (session.preprocessing.mean, session.preprocessing.std) == ((0.4,), (0.2,))
    assert next(iter(session.training.epoch(0))).images.min() == pytest.approx(-2.0)
    assert open_session(recipe.updated(normalize=False), quiet).preprocessing.mean == ()
    for_colours = normalization_of(read_weights(tmp_path / "m.safetensors"), 3)
    assert for_colours is not None
    assert for_colours.mean == (0.4,) * 3


def test_a_network_that_is_stated_has_to_be_that_of_the_weights(small_recipe: Recipe, model: Path, tmp_path: Path) -> None:
    assert small_recipe.updated(weights=str(model)).network == "weights"
    assert small_recipe.updated(weights="imagenet1k-v2").network == small_recipe.network
    assert small_recipe.updated(weights=str(model), network="resnet18").network == "resnet18"
    with pytest.raises(ValueError, match="do not fit this network"):
        open_session(small_recipe.updated(weights=str(model), network="cifar-resnet14"), quiet)
    with pytest.raises(ValueError, match=r"nothing\.pth' is neither a file or folder nor a name"):
        open_session(small_recipe.updated(weights=str(tmp_path / "nothing.pth")), quiet)
    with pytest.raises(ValueError, match="network='weights' is the network that --weights are of, but there are none"):
        small_recipe.updated(network="weights")


@pytest.mark.parametrize("name", [*ROWS, "cifar-resnet8", "wrn-10-1.5"])
def test_a_spec_is_spelled_so_that_the_zoo_reads_it(name: str) -> None:
    assert get_spec(spell(get_spec(name))) == get_spec(name)


def test_a_changed_spec_is_spelled() -> None:
    spec = get_spec(
        "resnet50", num_classes=7, residual=("basic", "basic", "bottleneck", "basic"), shortcut="none", strides=(1, 2, 2, 1)
    )
    assert get_spec(spell(spec)) == spec
    free = frozenset({"num_classes"})
    assert spell(get_spec("resnet50", num_classes=7), free) == "resnet50"
    assert spell(get_spec("cifar-resnet20", num_classes=7, width=32), free) == "cifar-resnet20:width=32"


# Class balance --------------------------------------------------------------------------------------


def test_class_weights_are_sklearns_and_torchs() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [3] * 1)
    weights = balanced_weights(labels, 5)
    torch.testing.assert_close(weights, torch.tensor([10 / 18, 10 / 9, 0.0, 10 / 3, 0.0]))
    assert float(weights[labels].mean()) == pytest.approx(1.0)
    torch.manual_seed(0)
    logits, targets = torch.randn(8, 5), torch.tensor([0, 0, 1, 3, 0, 1, 0, 0])
    each = nn.functional.cross_entropy(logits, targets, reduction="none")
    ours = (each * weights_of(targets, weights)).sum() / 8
    torch.testing.assert_close(ours, nn.CrossEntropyLoss(weight=weights, reduction="sum")(logits, targets) / 8)
    theirs = nn.CrossEntropyLoss(weight=weights)(logits, targets)
    torch.testing.assert_close(ours, theirs * weights[targets].sum() / 8)
    shares = nn.functional.one_hot(targets, 5).float()
    torch.testing.assert_close(weights_of(shares, weights), weights[targets])
    torch.testing.assert_close(
        weights_of((shares + shares.flip(0)) / 2, weights), (weights[targets] + weights[targets.flip(0)]) / 2
    )


def test_class_weights_reach_the_step(small_recipe: Recipe) -> None:
    plain, weighted = (
        open_session(small_recipe.updated(class_weights=kind, precision="fp32"), quiet) for kind in ("none", "balanced")
    )
    batch = next(iter(plain.training.epoch(0)))
    assert plain.weights(batch, batch.labels) is None
    torch.testing.assert_close(weighted.weights(batch, batch.labels), balanced_weights(plain.training.labels, 10)[batch.labels])
    steepened = torch.linspace(0, 3, 10)
    weighted.class_weights = steepened
    weighted.step.gradients(weighted.inputs(batch), total=batch.total)
    ours = weighted.network.get_parameter("head.fc.bias").grad
    loss = nn.CrossEntropyLoss(weight=steepened, reduction="sum", label_smoothing=0.0)(
        plain.network.train()(batch.images), batch.labels
    )
    (loss / len(batch.labels)).backward()
    torch.testing.assert_close(ours, plain.network.get_parameter("head.fc.bias").grad)


def test_balanced_sampling_draws_classes_equally(small_recipe: Recipe) -> None:
    labels = torch.tensor([0] * 90 + [1] * 9 + [4] * 1)
    chances = drawn_equally(labels)
    assert float(chances.sum()) == pytest.approx(1.0)
    assert [float(chances[labels == k].sum()) for k in (0, 1, 4)] == pytest.approx([1 / 3] * 3)
    session = open_session(small_recipe.updated(sampling="balanced"), quiet)
    loader: Any = session.training
    order = loader.order
    order.probabilities = drawn_equally((loader.labels == 3).long())  # one digit against nine: it would be a tenth
    drawn = torch.cat([loader.labels[plan.indices] for epoch in range(3) for plan in order.steps(epoch)])
    share = float((drawn == 3).double().mean())
    assert abs(share - 0.5) < 5 * (0.25 / len(drawn)) ** 0.5
    with pytest.raises(ValueError, match="choose one"):
        small_recipe.updated(sampling="balanced", class_weights="balanced")
    with pytest.raises(ValueError, match="pruning needs each image once"):
        small_recipe.updated(sampling="balanced", pruning=0.3)
