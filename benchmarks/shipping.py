"""Prediction and training on two CPU cores: our default path beside ONNX Runtime, OpenVINO and torchvision, in one interleaved run.

    python benchmarks/shipping.py                                   # results/shipping-cpu.json
    python benchmarks/shipping.py --networks resnet18 --rounds 2 --seconds 0.5 --no-compile --output FILE    # a quick look
    python benchmarks/shipping.py --model runs/own --quantized int8.xml        # a trained model, and its INT8 file

For resnet18, resnet50 and resnext50-32x4d at 224 pixels: `resnets benchmark` at batch 1 and 16 in fp32, bf16 and int8, eager and in the
runtimes, and the training step at batch 16, where torch's engines take part compiled, too. What bf16 and int8 cost in accuracy says
benchmarks/quantization.py. The images on which the engines' answers are compared are real ones: test images of Fashion-MNIST, scaled
to 224 pixels. Networks by name have fresh weights, whose norms have the statistics of these images.

The record has every row, and a summary: our default path, as `open_engine` chooses it (in int8 OpenVINO), against the fastest of the
peers' engines in the same precision, against torchvision's module as it comes, and against ourselves in fp32; for training steps our module
as `resnets train` runs it. Each network's rows are written when they are done, in the place of what the record had of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from records import RESULTS, write_record

NETWORKS = ("resnet18", "resnet50", "resnext50-32x4d")
BATCHES, TRAINING_BATCHES = (1, 16), (16,)
IMAGES = 64
ABOUT = (
    "by network, the rows of `resnets benchmark` and a summary of them: images/s of our default engine over the fastest peer's in the same "
    "precision, over torchvision's module as it comes, eager and in fp32, and over ours in fp32; medians over the rounds of one interleaved "
    f"run. top1_agreement is with torchvision's module, on {IMAGES} test images of Fashion-MNIST, of networks that never learned"
)


def write_images(folder: Path, count: int) -> None:
    """Test images of Fashion-MNIST as PNG files."""
    import PIL.Image

    from resnets.data.datasets.catalogue import load

    images = load("fashion-mnist", "test", report=tell)
    for number in range(count):
        PIL.Image.fromarray(images.images[number, 0].numpy()).convert("RGB").save(folder / f"{number:03}.png")


def summary(rows: list[dict[str, Any]], defaults: dict[str, str]) -> list[dict[str, Any]]:
    """Ours beside the fastest peer of the same network, mode, precision and batch.

    Args:
        defaults: by precision, the runtime in which networks predict unless told.
    """
    made = []
    keys = ("network", "mode", "precision", "batch")
    for place in dict.fromkeys(tuple(row[key] for key in keys) for row in rows):
        _, mode, precision, batch = place
        alike = {row["engine"]: row for row in rows if tuple(row[key] for key in keys) == place}
        runtime = defaults.get(precision, "torch") if mode == "predict" else "torch"
        ours = alike.get("resnets" if runtime == "torch" else f"resnets-{runtime}")
        peers = {engine: row["images_per_second"] for engine, row in alike.items() if not engine.startswith("resnets")}
        if ours is None:
            continue
        best = max(peers, key=peers.__getitem__, default=None)
        full = next((each for each in made if each["precision"] == "fp32" and (each["mode"], each["batch"]) == (mode, batch)), None)
        made.append(
            {
                **dict(zip(keys, place, strict=True)),
                "ours": ours["engine"],
                "images_per_second": ours["images_per_second"],
                "ratio_to_torchvision_eager_fp32": ours["ratio_to_baseline"],
                "ratio_to_ours_fp32": None if full is None else ratio(ours, full["row"]),
                "fastest_peer": best,
                "ratio_to_fastest_peer": None if best is None else ratio(ours, alike[best]),
                "top1_agreement": ours["top1_agreement"],
                "share_of_limit": ours["share_of_limit"],
                "row": ours,
            }
        )
    return [{key: value for key, value in each.items() if key != "row"} for each in made]


def tell(message: str) -> None:
    """For who waits."""
    print(message, file=sys.stderr, flush=True)


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
    parser.add_argument(
        "--training-batches", type=int, nargs="*", default=list(TRAINING_BATCHES), help="none for no training steps"
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6.0, help="a row at least, over all rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="training steps without torch.compile, which takes minutes")
    parser.add_argument("--output", type=Path, help="the record's file, in the place of results/shipping-cpu.json")
    options = parser.parse_args()

    import torch

    from resnets.benchmark.rounds import Request
    from resnets.benchmark.run import benchmark
    from resnets.cli.commands.benchmark import subject_of
    from resnets.deployment.engines.choice import choose_engine

    output = options.output
    record, folder = (output.stem, output.parent) if output else ("shipping-cpu", RESULTS)
    with tempfile.TemporaryDirectory() as images:
        write_images(Path(images), IMAGES)
        for name in [*options.networks, *([str(options.model)] if options.model else [])]:
            subject, fresh = subject_of(name, options.size)
            predicting = Request(
                precisions=("fp32", "bf16", "int8"),
                batches=tuple(options.batches),
                seconds=options.seconds,
                rounds=options.rounds,
                threads=options.threads,
                compiled=False,
                quantized=tuple(options.quantized) if options.model and name == str(options.model) else (),
                images=(Path(images),),
            )
            requests = [predicting]
            for precision in ("fp32", "bf16") if options.training_batches else ():
                # A run each: all engines of both precisions, with what they keep for training, would not fit into 24 GiB at once.
                requests.append(
                    dataclasses.replace(
                        predicting,
                        modes=("train",),
                        precisions=(precision,),
                        batches=tuple(options.training_batches),
                        compiled=not options.no_compile,
                        quantized=(),
                    )
                )
            runs = [benchmark(subject, request, fresh=fresh, listen=tell) for request in requests]
            abouts = [about for about, _ in runs]
            defaults: dict[str, str] = {
                precision: choose_engine(subject.network.spec, torch.device("cpu"), precision).engine
                for precision in ("fp32", "bf16")
            }
            done = {
                "command": shlex.join(["python", *sys.argv]),
                "date": datetime.date.today().isoformat(),
                **abouts[0],
                "machine": [about["machine"] for about in abouts],
                "notes": list(dict.fromkeys(note for _, result in runs for note in result.notes)),
                "summary": [row for _, result in runs for row in summary(list(result.rows), {**defaults, "int8": "openvino"})],
                "rows": [row for _, result in runs for row in result.rows],
            }
            before = json.loads((folder / f"{record}.json").read_text())["networks"] if (folder / f"{record}.json").exists() else {}
            networks = {**before, subject.name: done}
            print(write_record(record, {"about": ABOUT, "networks": networks}, folder=folder))


if __name__ == "__main__":
    main()
