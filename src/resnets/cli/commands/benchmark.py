"""resnets benchmark: speed and memory of networks in every engine present, beside their peers and what the machine allows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ...benchmark.contestants import AGAINST, Against
from ...core.errors import UserError
from ...reports.tables import percent, print_table, table
from ..command import Command
from ..options import messages, print_json, results

_ABOUT = "Measure networks in every engine present, in one interleaved run beside their peers and the machine's limits."


@dataclass
class BenchmarkOptions:
    """Options of `resnets benchmark`."""

    networks: tyro.conf.Positional[tuple[str, ...]] = ("resnet50",)
    """Networks by name, or model files or run directories."""
    against: tuple[Against, ...] = AGAINST
    """Whom to compare with: torchvision's and timm's modules, and, for ours and torchvision's network, ONNX Runtime and OpenVINO. What is
    not installed is named and left out; torchvision's module, eager and in fp32, is what ratios are to."""
    train: bool = False
    """Measure training steps, too."""
    batch: tuple[int, ...] = ()
    """Images per call, one row each; unset: 1, and the batch at which the engine makes most images per second."""
    size: int | None = None
    """Height and width of the images in pixels; unset: the network's own."""
    precision: tuple[Literal["fp32", "bf16", "int8"], ...] = ("fp32", "bf16")
    """Precisions in which all are measured; the baseline stays in fp32. int8: all layers, in ONNX Runtime and OpenVINO, calibrated on
    the images; what that costs in accuracy says resnets quantize."""
    seconds: float = 2.0
    """Time to spend on each row at least, over all rounds together."""
    rounds: int = 5
    """Turns of each row; their order is random."""
    threads: int | None = None
    """Threads of every engine; unset: torch's own choice."""
    compile: bool = True
    """Measure torch.compile, too; it takes minutes for large networks."""
    cuda_graphs: bool = False
    """On a GPU, measure CUDA graphs, too, which help small batches."""
    images: Annotated[tuple[Path, ...], tyro.conf.arg(aliases=["--pictures"])] = ()
    """Image files and folders to work on and to compare the engines' answers on; unset: parts of one photograph."""
    quantized: tuple[Path, ...] = ()
    """INT8 files of the network (.onnx, .xml), as resnets quantize writes them, measured beside it."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    json: bool = False
    """One object with hardware, versions and threads on standard output, then one per row."""


def run(options: BenchmarkOptions) -> int:
    """Carries out the command."""
    _check(options)
    import torch

    from ...benchmark.rounds import Request
    from ...benchmark.run import benchmark
    from ...training.session import choose_device

    console = messages()
    device = choose_device(options.device)
    if options.cuda_graphs and device.type != "cuda":
        raise UserError(f"--cuda-graphs needs an NVIDIA GPU, but this is {device}; leave it off")
    request = Request(
        modes=("predict", "train") if options.train else ("predict",),
        precisions=options.precision,
        against=options.against,
        batches=options.batch,
        most=512 if device.type == "cuda" else 32,
        seconds=options.seconds,
        rounds=options.rounds,
        threads=options.threads or torch.get_num_threads(),
        device=str(device),
        compiled=options.compile,
        graphs=options.cuda_graphs,
        quantized=options.quantized,
        images=options.images,
    )

    def say(message: str) -> None:
        console.print(message, soft_wrap=True, markup=False)

    for number, name in enumerate(options.networks):
        subject, fresh = subject_of(name, options.size)
        about, result = benchmark(subject, request, fresh=fresh, listen=say)
        about["notes"] = list(result.notes)
        if not number:
            _show_run(about, as_json=options.json)
        _show(name, result.rows, as_json=options.json)
        for note in result.notes:
            say(note)
    return 0


def _check(options: BenchmarkOptions) -> None:
    if not options.networks:
        raise UserError("name at least one network: resnets benchmark resnet50")
    for option, values in (("--batch", options.batch), ("--size", (options.size,)), ("--threads", (options.threads,))):
        for value in values:
            if value is not None and value < 1:
                raise UserError(f"{option} is at least 1, not {value}")
    if options.rounds < 1 or options.seconds < 0:
        raise UserError(f"--rounds is at least 1 and --seconds not negative, not {options.rounds} and {options.seconds:g}")
    if not options.precision:
        raise UserError("--precision needs fp32, bf16 or int8, or several of them")
    if options.quantized and len(options.networks) > 1:
        raise UserError("--quantized files are of one network; name one")


def subject_of(name: str, size: int | None) -> tuple[Any, bool]:
    """The network, and whether its weights are fresh."""
    import torch

    from ... import create_model
    from ...benchmark.contestants import peer_names
    from ...benchmark.files import Subject
    from ...weights.model_file import load_model
    from ..model_path import model_path

    path = Path(name)
    if path.exists():
        network, fresh = load_model(model_path(path)), False
    else:
        torch.manual_seed(0)
        network, fresh = create_model(name), True
    if network.spec.head != "classes" or network.spec.dims != 2:
        raise UserError(f"{name} is no classifier of images, which is what is measured here")
    native = network.preprocessing.size if network.preprocessing is not None else network.spec.input_size
    return Subject(name, network, size or native, peer_names(network.spec)), fresh


def _show_run(about: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(about)
        return
    console = results()
    hardware, machine = about["hardware"], about["machine"]
    rates = ", ".join(f"{rate / 1e9:,.0f} G multiply-adds/s in {name}" for name, rate in machine["macs_per_second"].items())
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    for line in (
        f"{hardware['gpu'] or hardware['processor']}, {about['threads']} threads; {versions}",
        f"this machine's own rates: {rates}; copies at {machine['copied_bytes_per_second'] / 1e9:,.0f} GB/s",
    ):
        console.print(line, soft_wrap=True, markup=False)


def _show(name: str, rows: tuple[dict[str, Any], ...], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
        return
    console = results()
    cells = [
        (
            row["engine"],
            row["mode"],
            row["precision"],
            row["batch"],
            f"{row['latency_ms']:,.2f}",
            f"{row['latency_p95_ms']:,.2f}",
            f"{row['images_per_second']:,.1f}",
            "-" if row["ratio_to_baseline"] is None else f"{row['ratio_to_baseline']:.2f}",
            percent(row["share_of_limit"], 0),
            f"{row['peak_memory_bytes'] / 2**20:,.0f}",
            f"{(row['peak_memory_bytes'] - row['libraries_memory_bytes']) / 2**20:,.0f}",
            percent(row["top1_agreement"], 0),
        )
        for row in rows
    ]
    columns = (
        "engine", "mode", "precision", "batch", "ms", "ms, p95", "images/s", "to baseline", "of limit", "peak MiB",
        "without libraries", "same top-1",
    )  # fmt: skip
    print_table(console, table(name, columns, cells))
    if rows:
        console.print(
            f"baseline: {rows[0]['engine']} as it comes, eager and in fp32, at the same batch (beside an engine's own fastest batch, at its "
            "own fastest); of limit: share of the images/s that the machine's measured rates allow; ms: median of the calls, warm-up left out",
            soft_wrap=True,
            markup=False,
        )


COMMAND = Command("benchmark", BenchmarkOptions, _ABOUT, run)
