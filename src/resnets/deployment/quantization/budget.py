"""Quantization after training: a network's convolutions in eight-bit integers, within a budget of accuracy that is measured.

Legend: N images, C channels, S spatial shape, K classes. A drop is a difference of top-1 accuracy in percentage points, between the
network in float32 and as int8 in the same runtime, on the same images.

All layers are quantized; where that costs more than the budget, the most blamed ones (`quantization_blame`) stay in float: 1, 2, 4, ...
of them until the budget holds, then as few as bisection finds. A file is left only where the runtime that is meant to run it really
computes its convolutions in integers; beside it is FILE.quantization.json with every trial and the ranking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...classification.evaluate import EvaluationResult, evaluate
from ...core.environment import describe_environment, installed_version
from ...core.errors import JobError, UserError
from ...core.files import write_together
from ...core.text import to_json
from ...networks import Network
from ..engines.engine import Engine, EngineModule, needed
from ..export.export import PACKAGES
from ..graph.description import Description, description_of
from ..graph.exported import check_exportable, make_graph, native_size, traced
from ..graph.folding import Folding
from ..graph.names import ENDINGS
from .blame import IMAGES, MEASURE, Blame, rank_layers, worst
from .data import QuantizationData
from .graph import Convolutions, Form, kept_in_float, prepared

QuantizedFormat = Literal["openvino", "onnx"]
_FORMS = {"openvino": ("openvino", "OpenVinoForm"), "onnx": ("onnx", "OnnxForm")}


class QuantizationFailure(JobError):
    """No quantized network was found that keeps its promises."""


@dataclass(frozen=True)
class Trial:
    """A quantized network, measured."""

    float_layers: tuple[str, ...]
    """Layers that stay in float, the most blamed one first."""
    drop: float
    """Percentage points of top-1 accuracy lost; negative where it is gained."""
    result: EvaluationResult
    convolutions: Convolutions
    """As the runtime executes them."""
    contents: dict[str, bytes]
    """Files, suffix -> content."""

    def row(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "float_layers": list(self.float_layers),
            "top1": self.result.top1,
            "drop": self.drop,
            "convolutions": asdict(self.convolutions),
        }


@dataclass(frozen=True)
class Quantized:
    """What a quantization left."""

    path: Path
    """The file to open; OpenVINO's weights are beside it."""
    files: tuple[Path, ...]
    """All files, the report last."""
    description: Description
    record: dict[str, Any]
    """The report: accuracy before and after, trials, ranking, integer convolutions."""


def quantize_model(
    network: Network,
    output: str | Path,
    data: QuantizationData,
    *,
    format: QuantizedFormat = "openvino",
    max_drop: float = 0.3,
    fixed_size: bool = False,
    description: Description | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Quantized:
    """Writes a network as int8, where it loses at most `max_drop` points of accuracy, and the report of what it lost.

    Args:
        network: it stays as it is.
        output: the file; ".xml" or ".onnx" as the format has it.
        data: images to calibrate with and images to measure on.
        format: "openvino", quantized by nncf, or "onnx", with QDQ for onnxruntime.
        max_drop: percentage points of top-1 accuracy that may be lost.
        fixed_size: bind the file to the network's own size; otherwise it takes any.
        description: what to say of the network, by default what it knows of itself.
        report: is told, in sentences, what is done and what was found.

    Raises:
        ValueError: a network, budget or ending that does not go; a missing package (the message names the extra).
        QuantizationFailure: no choice of layers keeps within the budget, or the runtime does not compute in integers; nothing is written.
        OSError: the files cannot be written.
    """
    output = Path(output)
    check_request(output, format, max_drop)
    known = description or description_of(network)
    size = native_size(known) if fixed_size else None
    ready, folding, form = _ready(network, known, data.calibration, format, size)
    about = form.engine.description
    report(folding.sentence())
    report(f"measuring {form.engine.version} in float32 on {data.name}")
    before = _measured(form.engine, data)
    report(f"in float32: {_points(before.top1)} % right of {before.num_images:,} images")
    images = data.calibration[:IMAGES]
    report(f"ranking layers by what quantizing one alone does to the logits of {len(images)} images")
    ranking = rank_layers(ready, images, report=_now_and_then(report))
    search = _Search(form, about, data, before, ranking, _convolutions(ready), output, report)
    chosen = search.within(max_drop)
    engine = search.engine(chosen)
    record = {
        "file": output.name,
        "runtime": engine.version,
        **form_module(format).settings(),
        "max_drop": max_drop,
        "drop": chosen.drop,
        "before": before.headline(),
        "after": chosen.result.headline(),
        "flips": data.flips,
        "measured_on": {"images": data.name, "num_images": before.num_images},
        "calibrated_on": {"images": data.calibration_name, "num_images": len(data.calibration)},
        "convolutions": asdict(chosen.convolutions),
        "float_layers": list(chosen.float_layers),
        "float_operations": sorted(search.kept(chosen.float_layers)),
        "trials": [trial.row() for trial in search.trials.values()],
        "ranking": {"measure": MEASURE, "num_images": len(images), "layers": [asdict(blame) for blame in ranking]},
        "form": engine.description.form.model_dump(mode="json"),
        "environment": describe_environment(),
    }
    return _write(output, chosen.contents, engine.description, record)


def quantize_unmeasured(network: Network, output: Path, calibration: Tensor, *, format: QuantizedFormat = "openvino") -> None:
    """Writes a network with all its layers as int8 and says nothing of its accuracy: for measuring speed.

    Args:
        network: it stays as it is.
        output: the file; ".xml" or ".onnx" as the format has it.
        calibration: (N, C, *S) float32, normalised.

    Raises:
        ValueError: a network or an ending that does not go; a missing package.
        OSError: the files cannot be written.
    """
    check_request(output, format, 0)
    _, _, form = _ready(network, description_of(network), calibration, format, None)
    contents = form.described(form.quantized(()), form.engine.description.in_form(precision="int8"))
    graph = contents.pop(output.suffix)
    write_together({**{output.with_suffix(suffix): content for suffix, content in contents.items()}, output: graph})


def _ready(
    network: Network, known: Description, calibration: Tensor, format: QuantizedFormat, size: int | None
) -> tuple[Network, Folding, Form]:
    """The network prepared for integers, what was folded, and its graph in float32 in the runtime, which knows its description."""
    ready, folding = prepared(network)
    about = known.in_form(
        input="images",
        precision="fp32",
        size=size,
        folded_norms=len(folding.folded),
        versions={name: found for name in PACKAGES if (found := installed_version(name)) is not None},
    )
    check_exportable(about)
    program = traced(make_graph(ready, about, torch.float32), about)
    form: Form = getattr(form_module(format), _FORMS[format][1])(ready, program, about, calibration)
    return ready, folding, form


def check_request(output: Path, format: QuantizedFormat, max_drop: float) -> None:
    """Raises:
    ValueError: another ending than the format's, a budget that is none, a missing package.
    OSError: there is no folder for the file.
    """
    if output.suffix != ENDINGS[format]:
        raise UserError(f"--output {output}: a file for {format} ends in {ENDINGS[format]}")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")
    if not 0 <= max_drop <= 100:
        raise UserError(f"max_drop={max_drop} are percentage points that may be lost; give a number from 0 to 100")
    for package, extra in form_module(format).PACKAGES.items():
        needed(package, extra)


def form_module(format: QuantizedFormat) -> ModuleType:
    """The module that quantizes for a format; loading it loads no runtime."""
    return import_module(f".{_FORMS[format][0]}", __package__)


class _Search:
    """Trials with more and fewer layers in float, each made and measured once."""

    def __init__(
        self,
        form: Form,
        about: Description,
        data: QuantizationData,
        before: EvaluationResult,
        ranking: tuple[Blame, ...],
        convolutions: frozenset[str],
        output: Path,
        report: Callable[[str], None],
    ) -> None:
        self.form, self.about, self.data, self.before, self.ranking = form, about, data, before, ranking
        self.convolutions, self.output, self.report = convolutions, output, report
        self.trials: dict[int, Trial] = {}

    def within(self, max_drop: float) -> Trial:
        """The trial with the fewest layers in float that was found to keep the budget.

        Raises:
            QuantizationFailure: there is none, or the runtime does not compute in integers what it was given in them.
        """
        most = max((n for n in range(len(self.ranking)) if self.expected(n) > 0), default=0)
        failed, count = -1, 0
        while self.trial(count).drop > max_drop:
            if count == most:
                raise QuantizationFailure(self._nothing_left(max_drop))
            failed, count = count, min(max(1, 2 * count), most)
        while count - failed > 1:
            middle = (failed + count) // 2
            if self.trial(middle).drop > max_drop:
                failed = middle
            else:
                count = middle
        return self.trial(count)

    def trial(self, count: int) -> Trial:
        """With the `count` most blamed layers in float."""
        if count not in self.trials:
            layers = worst(self.ranking, count)
            named = f": {', '.join(layers)}" if 0 < count <= 4 else ""
            self.report(f"quantizing with {count} of {len(self.ranking)} layers in float{named}; calibrating and measuring")
            contents = self.form.described(self.form.quantized(layers), self._described(layers, None))
            engine = self.form.opened(contents, str(self.output))
            found = self.form.convolutions(contents, engine)
            expected = self.expected(count)
            if found.integer < expected or expected == 0:
                raise QuantizationFailure(
                    f"{engine.version} computes {found.integer} of {found.total} convolutions in integers where {expected} were asked for, "
                    f"so that {self.output} was not written"
                )
            result = _measured(engine, self.data)
            # Of whole images: a difference of shares would miss a budget that is met exactly.
            drop = 100 * (_num_right(self.before) - _num_right(result)) / result.num_images
            self.trials[count] = Trial(layers, drop, result, found, contents)
            self.report(f"{_points(result.top1)} % right: {_loss(drop)}; {found.integer} of {found.total} convolutions in integers")
        return self.trials[count]

    def kept(self, layers: tuple[str, ...]) -> frozenset[str]:
        """Names of the runtime's operations that stay in float with these layers."""
        return kept_in_float(self.form.operations, layers, makers=self.form.makers)

    def expected(self, count: int) -> int:
        """Convolutions that ought to be integer with that many layers in float."""
        return self.form.expected(self.kept(worst(self.ranking, count)), self.convolutions)

    def engine(self, trial: Trial) -> Engine:
        """The runtime with a trial's files, which now say what they lost."""
        trial.contents.update(self.form.described(trial.contents, self._described(trial.float_layers, trial)))
        return self.form.opened(trial.contents, str(self.output))

    def _described(self, layers: tuple[str, ...], trial: Trial | None) -> Description:
        about = self.about.in_form(precision="int8")
        quantization: dict[str, Any] = {"calibrated_on": self.data.calibration_name, "float_layers": list(layers)}
        if trial is not None:
            quantization |= {
                "measured_on": self.data.name,
                "num_images": trial.result.num_images,
                "top1_before": self.before.top1,
                "top1": trial.result.top1,
            }
        return Description(
            about.spec,
            about.classes,
            about.preprocessing,
            about.metrics,
            {**about.provenance, "quantization": quantization},
            about.form,
        )

    def _nothing_left(self, max_drop: float) -> str:
        best = min(self.trials.values(), key=lambda trial: trial.drop)
        return (
            f"no choice of layers keeps within {max_drop:g} points: with {len(best.float_layers)} of {len(self.ranking)} layers in float it is "
            f"still {_loss(best.drop)}, and with more no convolution is left in integers; {self.output} was not written"
        )


def _measured(engine: Engine, data: QuantizationData) -> EvaluationResult:
    return evaluate(EngineModule(engine), data.batches(), flips=data.flips)


def _convolutions(network: nn.Module) -> frozenset[str]:
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return frozenset(name for name, module in network.named_modules() if isinstance(module, kinds))


def _num_right(result: EvaluationResult) -> int:
    return int(result.confusion.diagonal().sum())


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _loss(drop: float) -> str:
    return f"{abs(drop):.2f} points {'more' if drop < 0 else 'less'} than in float32"


def _now_and_then(report: Callable[[str], None]) -> Callable[[int, int], None]:
    def tell(done: int, total: int) -> None:
        if total >= 20 and done < total and done % (total // 4) == 0:
            report(f"ranked {done} of {total} layers")

    return tell


def _write(output: Path, contents: dict[str, bytes], about: Description, record: dict[str, Any]) -> Quantized:
    # The graph last: whoever finds it finds its weights and its report, too.
    files: dict[Path, bytes | str] = {output.with_suffix(suffix): content for suffix, content in contents.items()}
    graph = files.pop(output)
    beside = output.with_name(f"{output.name}.quantization.json")
    write_together({**files, beside: to_json(record, indent=1) + "\n", output: graph})
    return Quantized(output, (output, *files, beside), about, record)
