"""Prediction and training on two CPU cores: our default path beside ONNX Runtime, OpenVINO and torchvision, in one interleaved run.

    python benchmarks/shipping.py                                   # results/shipping-cpu.json
    python benchmarks/shipping.py --networks resnet18 --rounds 2 --seconds 0.5 --no-compile --output FILE    # a quick look
    python benchmarks/shipping.py --model runs/own --quantized int8.xml        # a trained model, and its INT8 file

For resnet18, resnet50 and resnext50-32x4d at 224 pixels: `resnets benchmark` at batch 1 and 16 in fp32 and bf16, and the training step.
The pictures on which the engines' answers are compared are real ones: test pictures of Fashion-MNIST, scaled to 224 pixels. Networks by
name have fresh weights, whose norms have the statistics of these pictures.

The record has every row, and a summary: our default path, as `open_engine` chooses it, against the fastest of the peers' engines in the
same precision, and against torchvision's module as it comes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import write_record

NETWORKS = ("resnet18", "resnet50", "resnext50-32x4d")
BATCHES = (1, 16)
PICTURES = 64


def write_pictures(folder: Path, count: int) -> None:
    """Test pictures of Fashion-MNIST as PNG files."""
    import PIL.Image

    from resnets.data.datasets import load

    pictures = load("fashion-mnist", "test", report=lambda message: print(message, file=sys.stderr))
    for number in range(count):
        PIL.Image.fromarray(pictures.images[number, 0].numpy()).convert("RGB").save(folder / f"{number:03}.png")


def summary(rows: list[dict[str, Any]], defaults: dict[str, str]) -> list[dict[str, Any]]:
    """Our default path beside the fastest peer of the same network, precision and batch.

    Args:
        defaults: the runtime that `open_engine` chooses, by precision.
    """
    made = []
    for network, precision, batch in dict.fromkeys(
        (row["network"], row["precision"], row["batch"]) for row in rows if row["mode"] == "predict"
    ):
        alike = {
            row["engine"]: row
            for row in rows
            if (row["network"], row["precision"], row["batch"], row["mode"]) == (network, precision, batch, "predict")
        }
        runtime = defaults.get(precision)
        ours = alike.get("resnets" if runtime == "torch" else f"resnets-{runtime}")
        peers = {engine: row["images_per_second"] for engine, row in alike.items() if not engine.startswith("resnets")}
        if ours is None:
            continue
        best = max(peers, key=peers.__getitem__, default=None)
        baseline = next(row for row in rows if (row["network"], row["engine"], row["batch"]) == (network, "torchvision", batch))
        made.append(
            {
                "network": network,
                "precision": precision,
                "batch": batch,
                "ours": ours["engine"],
                "images_per_second": ours["images_per_second"],
                "ratio_to_torchvision_eager_fp32": ours["ratio_to_baseline"],
                "fastest_peer": best,
                "ratio_to_fastest_peer": None if best is None else ratio(ours, alike[best]),
                "top1_agreement": ours["top1_agreement"],
                "share_of_limit": ours["share_of_limit"],
                "memory_share": ours["peak_memory_bytes"] / baseline["peak_memory_bytes"],
            }
        )
    return made


def ratio(ours: dict[str, Any], peer: dict[str, Any]) -> float:
    """Median over the rounds of the peer's time over ours."""
    return statistics.median(
        theirs / own for theirs, own in zip(peer["round_latencies_ms"], ours["round_latencies_ms"], strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--model", type=Path, help="a trained model beside them")
    parser.add_argument("--quantized", type=Path, nargs="*", default=[], help="INT8 files of that model")
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=6.0, help="a row at least, over all rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-train", action="store_true")
    parser.add_argument("--output", type=Path, help="the record's file, in the place of results/shipping-cpu.json")
    options = parser.parse_args()

    import torch

    from resnets.cli.benchmark import subject_of
    from resnets.deployment.benchmark import benchmark
    from resnets.deployment.benchmark_rounds import Request
    from resnets.deployment.choice import choose_engine

    rows: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), PICTURES)
        for name in [*options.networks, *([str(options.model)] if options.model else [])]:
            subject, fresh = subject_of(name, options.size)
            request = Request(
                modes=("predict",) if options.no_train else ("predict", "train"),
                batches=tuple(options.batches),
                seconds=options.seconds,
                rounds=options.rounds,
                threads=options.threads,
                compiled=not options.no_compile,
                quantized=tuple(options.quantized) if options.model and name == str(options.model) else (),
                pictures=(Path(folder),),
            )
            about, result = benchmark(subject, request, fresh=fresh, listen=lambda message: print(message, file=sys.stderr))
            runs[name] = {**about, "notes": list(result.notes)}
            rows += result.rows
            defaults = {
                precision: choose_engine(subject.network.spec, torch.device("cpu"), precision).engine
                for precision in ("fp32", "bf16")
            }
            made += summary(list(result.rows), {**defaults, "int8": "openvino"})
    record = {
        "about": "summary: images/s of our default engine over the fastest peer's in the same precision, and over torchvision's module as it "
        "comes, eager and in fp32; medians over rounds of one interleaved run. top1_agreement is with that module, on "
        f"{PICTURES} test pictures of Fashion-MNIST scaled to {options.size} pixels. A training step of one picture is left out: its batch "
        "is at least 2",
        "runs": runs,
        "summary": made,
        "rows": rows,
    }
    output = options.output
    print(write_record(output.stem if output else "shipping-cpu", record, folder=output.parent if output else None))


if __name__ == "__main__":
    main()
