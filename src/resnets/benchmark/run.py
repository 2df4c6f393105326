"""Speed and memory of a network in every engine present, in one interleaved run, beside what the machine allows.

Every contestant (benchmark_contestants.py) has a process of its own, and one of them works at a time. First each warms up on growing
batches, which also finds the batch at which it makes most images per second; then rounds are timed, in each of which every contestant
gets its turn at each of its batches, in random order. So what slows the machine for a while slows all of them.
"""

from __future__ import annotations

import functools
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..core.environment import describe_environment, installed_version
from ..deployment.export.export import export_model
from ..deployment.quantization.budget import quantize_unmeasured
from .contestants import EXPORTED, QUANTIZED, Contestant, contestants
from .files import Subject, benchmark_images, preprocessing_of, write_peer_onnx, write_subject
from .roofline import DTYPES, MachineRates, measure_rates, work_of
from .rounds import Agreement, Request, Rounds, Row

IMAGES = 32
"""Whose logits are compared."""


@dataclass(frozen=True)
class Result:
    """What was measured of one network."""

    rows: tuple[dict[str, Any], ...]
    """As `resnets benchmark --json` prints them."""
    notes: tuple[str, ...]
    """Who could not take part, and why."""


def describe_run(request: Request, rates: MachineRates) -> dict[str, Any]:
    """Hardware, versions, threads and settings: what the figures are figures of."""
    environment = describe_environment()
    versions = {
        package: installed_version(package)
        for package in ("resnets", "torch", "torchvision", "timm", "onnx", "onnxruntime", "openvino")
    }
    return {
        "hardware": {name: environment[name] for name in ("processor", "cores", "gpu", "system")},
        "versions": {"python": environment["python"], **versions},
        "threads": request.threads,
        "device": request.device,
        "machine": rates.as_json(),
        "timing": f"one process per engine, one at work at a time; {request.rounds} rounds in random order, {request.seconds:g} s per row or "
        "more; building, loading, compiling and warm-up are left out, also one call before each turn; latencies are medians over all "
        "calls, ratios medians over the rounds; images are ready in the engine's memory layout (on a GPU: in its memory)",
        "limit": "the lesser of the machine's measured rate of matrix products over the network's multiply-adds (three times as many in "
        "training) and its measured rate of copying over the bytes that have to move",
    }


def benchmark(
    subject: Subject, request: Request, *, fresh: bool = True, listen: Callable[[str], None] = lambda message: None
) -> tuple[dict[str, Any], Result]:
    """Measures one network. What cannot take part is left out with a note.

    Args:
        subject: the network; with `fresh`, its norms' statistics are set to the images' first.
        listen: told what is being done.

    Returns:
        the run's description (`describe_run`) and the rows.

    Raises:
        ValueError: images that are none, or too small for the network.
    """
    network, spec = subject.network, subject.network.spec
    work = work_of(spec, subject.size)
    images = benchmark_images(preprocessing_of(network, subject.size), IMAGES, request.images)
    taking_part, notes = contestants(
        request.modes,
        request.precisions,
        request.against,
        dict(subject.peers),
        device=request.device,
        compiled=request.compiled,
        graphs=request.graphs,
        quantized=request.quantized,
    )
    precisions = sorted({contestant.precision for contestant in taking_part} & set(DTYPES))
    rates: list[MachineRates] = []

    def measure() -> None:
        rates.append(measure_rates(request.device, precisions, threads=request.threads))

    listen("the machine's own rates")
    measure()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resnets-benchmark-")))
        listen("weights and images for every engine")
        write_subject(subject, images, folder, fresh=fresh)
        listen("exported files")
        taking_part = _exported(subject, images, folder, taking_part, notes)
        rounds = Rounds(subject, request, folder, listen)
        stack.callback(rounds.close)
        rows = rounds.measured(taking_part, measure)
        agreements = rounds.agreements()
        notes += rounds.notes
    best = functools.reduce(MachineRates.faster, rates)
    described = []
    for row in rows:
        limit = work.limit(best, row.contestant.mode, row.contestant.precision, row.batch)
        described.append(_described(subject.name, row, _baseline(row, rows), limit, agreements.get(row.contestant)))
    return describe_run(request, best), Result(tuple(described), tuple(notes))


def _exported(subject: Subject, images: Tensor, folder: Path, taking_part: list[Contestant], notes: list[str]) -> list[Contestant]:
    """Writes the files of those contestants that run exported networks, and gives back all but those for which it did not work."""
    formats: dict[str, Literal["onnx", "openvino"]] = {"onnxruntime": "onnx", "openvino": "openvino"}
    peer = functools.cache(lambda: write_peer_onnx(subject, folder))
    writers: dict[tuple[str, str, str], Callable[[], object]] = {}
    for runtime, format in formats.items():
        plain, integer = folder / EXPORTED[runtime], folder / QUANTIZED[runtime]
        writers |= {
            ("resnets", runtime, ""): functools.partial(export_model, subject.network, plain, format=format),
            ("resnets", runtime, integer.name): functools.partial(
                quantize_unmeasured, subject.network, integer, images, format=format
            ),
            ("torchvision", runtime, ""): peer,
        }
    failed = set()
    for place, write in writers.items():
        if not any(_place(contestant) == place for contestant in taking_part):
            continue
        try:
            with redirected():
                write()
        except Exception as error:  # the exporters raise what they like; the others go on
            failed.add(place)
            said = str(error).strip().splitlines()
            form = "quantized" if place[2] else "exported"
            notes.append(f"{place[0]}'s network cannot be {form} for {place[1]}: {said[0] if said else type(error).__name__}")
    return [contestant for contestant in taking_part if _place(contestant) not in failed]


def _place(contestant: Contestant) -> tuple[str, str, str]:
    """What its file is made from and for."""
    return contestant.package, contestant.runtime, contestant.file


@contextmanager
def redirected() -> Iterator[None]:
    """Sends to standard error what a library prints, also from C: standard output is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _baseline(row: Row, rows: list[Row]) -> Row | None:
    """The baseline at the same batch; where each has a batch of its own, beside anyone's fastest batch the baseline's."""
    same = [other for other in rows if other.contestant.plain and other.contestant.mode == row.contestant.mode]
    for other in same:
        if other.batch == row.batch:
            return other
    return max(same, key=lambda other: other.batch / other.latency, default=None)


def _described(name: str, row: Row, baseline: Row | None, limit: float | None, agreement: Agreement | None) -> dict[str, Any]:
    """The row as it is printed."""
    contestant, speed = row.contestant, row.batch / row.latency
    ratio = None
    if baseline is not None:
        theirs, ours = baseline.medians, row.medians
        ratio = statistics.median((row.batch / our) / (baseline.batch / their) for our, their in zip(ours, theirs, strict=True))
    return {
        "network": name,
        "engine": contestant.engine,
        "mode": contestant.mode,
        "precision": contestant.precision,
        "batch": row.batch,
        "images_per_second": speed,
        "latency_ms": 1000 * row.latency,
        "latency_p95_ms": 1000 * row.latency_at(0.95),
        "calls": sum(map(len, row.rounds)),
        "round_latencies_ms": [1000 * seconds for seconds in row.medians],
        "peak_memory_bytes": row.peak_memory,
        "libraries_memory_bytes": row.libraries_memory,
        "ratio_to_baseline": ratio,
        "baseline": None if baseline is None else f"{baseline.contestant.engine} fp32, batch {baseline.batch}",
        "limit_images_per_second": limit,
        "share_of_limit": None if limit is None else speed / limit,
        "top1_agreement": None if agreement is None else agreement.top1,
        "logit_error": None if agreement is None else agreement.error,
    }
