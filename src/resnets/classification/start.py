"""What training starts from: fresh weights, or pretrained ones that are made to fit the recipe's data.

The network, its input channels and its normalisation follow the weights where the recipe does not say otherwise; classes follow the data,
so that the head is a fresh one unless the weights are for these very classes. Everything that was changed is said.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..networks import Network, NetworkSpec, build, get_spec
from ..networks.zoo import spell
from ..weights.adapt import adapted_preprocessing, network_from
from ..weights.foreign_file import LoadedWeights
from ..weights.pretrained import read_weights
from .recipe import OF_THE_WEIGHTS, Recipe

_OF_THE_DATA = frozenset({"num_classes", "in_channels", "input_size"})
"""Fields of a spec that a run takes from its data."""


def read_start(recipe: Recipe) -> LoadedWeights | None:
    """The weights that the recipe starts from, as they are; None for fresh ones.

    Raises:
        ValueError: nothing has that name, or what has it is no weights of the recipe's network.
        WeightsUnavailable: they would have to be fetched and cannot be.
        OSError: a file cannot be read.
    """
    if recipe.weights is None:
        if recipe.bn in ("stats-frozen", "frozen"):
            raise UserError(
                f"bn={recipe.bn!r} keeps the statistics of pretrained weights, but there are none; name some with --weights"
            )
        if recipe.fine_tuning.freeze != "none" or recipe.fine_tuning.head_first:
            what = "freeze" if recipe.fine_tuning.freeze != "none" else "head_first"
            raise UserError(f"fine_tuning.{what} would keep fresh, random weights as they are; name pretrained ones with --weights")
        return None
    return read_weights(recipe.weights, None if recipe.network == OF_THE_WEIGHTS else get_spec(recipe.network))


def named_network(recipe: Recipe, read: LoadedWeights | None) -> Recipe:
    """The recipe with its network by name, also where the weights bring it."""
    if read is None or recipe.network != OF_THE_WEIGHTS:
        return recipe
    # Whether frozen statistics stay is the recipe's to say.
    spec = read.spec.updated(norm="batch") if read.spec.norm == "frozen-batch" else read.spec
    return recipe.updated(network=spell(spec, _OF_THE_DATA))


def normalization_of(read: LoadedWeights | None, channels: int) -> Preprocessing | None:
    """The preprocessing whose mean and std the weights were trained with, for so many channels; None where nothing is known of it."""
    if read is None:
        return None
    known = adapted_preprocessing(read.preprocessing, channels)
    return known if known is not None and known.mean else None


def start_network(
    recipe: Recipe, spec: NetworkSpec, read: LoadedWeights | None, classes: tuple[str, ...], report: Callable[[str], None]
) -> Network:
    """The network of `spec` as training finds it; fresh parts follow from torch's global random state.

    Raises:
        ValueError: the weights do not fit the network; the message names what differs.
    """
    if read is None:
        return build(spec)
    grouped = recipe.bn == "group" and read.spec.norm != "group"
    given = spec.updated(norm=read.spec.norm) if grouped else spec
    network, notes = network_from(read.state, read.spec, given, origin=read.origin)
    if read.spec.num_classes == spec.num_classes:
        if read.classes is None:
            notes.append(
                f"{read.origin}: the head is kept, taking its {spec.num_classes} classes for those of the data in their order"
            )
        elif read.classes != classes:
            network.head.load_state_dict(build(given).head.state_dict())
            theirs, ours = (f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" for names in (read.classes, classes))
            notes.append(
                f"{read.origin}: the weights are for other classes ({theirs}, not {ours}); the head is freshly initialised, train it"
            )
    if grouped:
        state, network = network.state_dict(), build(spec)
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        notes.append(
            f"{read.origin}: group norms take the place of the batch norms, with their scales and shifts and without their "
            "statistics, so that every response changes until training has adapted to it"
        )
    for note in (*read.notes, *notes):
        report(note)
    return network
