"""Writes the README's tables from the records in results/.

python benchmarks/readme_tables.py            # rewrites README.md
python benchmarks/readme_tables.py --check    # exit status 1 where it is out of step
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from records import RESULTS, read_record

from resnets.inspection.zoo_costs import zoo_cost

README = RESULTS.parent / "README.md"


def training_table() -> str:
    """The recipes against the tutorial's loop."""
    record = read_record("training-cpu")
    rounds, summary = record["rounds"], record["summary"]
    environment = record["environment"]
    pace = [r["tutorial_loop"]["images_per_second"] for r in rounds]
    lines = [
        f"{environment['processor']}, {environment['threads']} threads, torch {environment['torch']}; {len(rounds)} rounds. "
        f"The tutorial's own loop makes {min(pace):.0f}–{max(pace):.0f} images/s there.",
        "",
        "| recipe | test accuracy | training time | against the tutorial's own loop |",
        "|---|---|---|---|",
    ]
    tutorial = summary["fashion-mnist-tutorial"]["ratio"]
    memory = [[r[key]["peak_memory_bytes"] / 2**30 for r in rounds] for key in ("fashion-mnist-tutorial", "tutorial_loop")]
    lines.append(
        f"| `fashion-mnist-tutorial`: the same job | | | {tutorial['mean']:.2f}× the images/s "
        f"({max(memory[0]):.1f} GiB against {max(memory[1]):.1f} GiB) |"
    )
    for name in [key for key in summary if key != "fashion-mnist-tutorial"]:
        values = summary[name]
        top1, seconds, ratio = values["top1"], values["training_seconds"], values["ratio"]
        lines.append(
            f"| `{name}` | {100 * top1['mean']:.2f} ± {100 * top1['standard_deviation']:.2f} % ({len(rounds)} seeds) "
            f"| {seconds['mean']:.1f} s | {ratio['mean']:.0f}× shorter than its five epochs |"
        )
    machine = read_record("machine-cpu")
    # Forward, gradient of the data and gradient of the weights; two operations a multiply-add.
    operations = 3 * 2 * zoo_cost("tutorial-resnet18")[1] / 1e9
    ours = statistics.mean(r["fashion-mnist-tutorial"]["images_per_second"] for r in rounds)
    shares = [
        pace * operations / machine[f"{precision}_matrix_gflops"]["best"]
        for pace, precision in ((ours, "bf16"), (statistics.mean(pace), "fp32"))
    ]
    lines += [
        "",
        f"The same job is bound by arithmetic there: our step, in bf16, makes {100 * shares[0]:.0f} % of that machine's measured rate of "
        f"matrix products in bf16, the tutorial's loop, in fp32, {100 * shares[1]:.0f} % of the rate in fp32 "
        f"({machine['bf16_matrix_gflops']['best']:.0f} and {machine['fp32_matrix_gflops']['best']:.0f} thousand million operations a second).",
    ]
    return "\n".join(lines) + "\n"


def loading_table() -> str:
    """Loading against torchvision's."""
    record = read_record("loading-cpu")
    workers = record["settings"]["workers"]
    lines = [
        f"Images/s against torchvision's `ImageFolder`, reference transforms and `DataLoader`: the same JPEG files, {workers} workers, on "
        f"{record['environment']['processor']}; median of {record['settings']['rounds']} rounds.",
        "",
        "| pictures | torchvision | streamed | from memory | from disk |",
        "|---|---|---|---|---|",
    ]
    for kept in record["sets"].values():
        width, height = kept["files"]["about"]
        cells = [f"{kept['summary']['torchvision']['images_per_second']:,.0f} images/s, {_gib(kept, 'torchvision')}"]
        cells += [f"{kept['summary'][engine]['ratio']:.1f}×, {_gib(kept, engine)}" for engine in ("stream", "memory", "disk")]
        lines.append(f"| about {width} × {height} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gib(kept: dict[str, Any], engine: str) -> str:
    return f"{kept['summary'][engine]['peak_memory_bytes'] / 2**30:.1f} GiB"


def kills_sentence() -> str:
    """What killing came to."""
    record = read_record("kills-cpu")
    return (
        f"`benchmarks/kills.py` killed training {record['kills']} times at random moments, {record['half_written']} of them with a "
        f"checkpoint half written: {record['equal']} of {record['runs']} runs ended with the bits of the run that was left alone.\n"
    )


def distributed_sentence() -> str:
    """How much faster several processes are."""
    record = read_record("distributed-cpu")
    parts = [f"{100 * next(iter(row['efficiency'].values())):.0f} % ({row['network']})" for row in record["rows"]]
    return (
        f"Two processes of one thread make {' and '.join(parts)} of twice the pace of one on {record['environment']['processor']}, "
        f"with a whole batch of {record['batch']}.\n"
    )


def networks_sentence() -> str:
    """Our modules against the peers'."""
    record = read_record("networks-cpu")
    ratios = [value for row in record["rows"] for value in row["ratio"].values()]
    settings = record["settings"]
    return (
        f"Forward passes and training steps of resnet18, resnet50 and resnext50 ({settings['precision']}, batch {settings['batch']}, eager "
        f"and compiled) run at {min(ratios):.2f} to {max(ratios):.2f} times the pace, {statistics.median(ratios):.3f} at the median, of "
        f"torchvision's and timm's own modules on {record['environment']['processor']}.\n"
    )


STUDIES = ("degradation", "shortcut-ablation", "activation-order", "signal", "bottleneck")


def studies_table() -> str:
    """What the studies that were run here came to."""
    lines = ["| study | question | held here? | first finding | machine time |", "|---|---|---|---|---|"]
    seconds = 0.0
    for name in STUDIES:
        record = json.loads((RESULTS / "studies" / name / "record.json").read_text(encoding="utf-8"))
        counted = [outcome for outcome in record["outcomes"] if outcome["key"]]
        held = sum(outcome["holds"] is True for outcome in counted)
        first = next(outcome for outcome in counted if outcome["mean"])
        seconds += record["seconds"]
        spent = f"{record['seconds'] / 60:.0f} min" if record["seconds"] else "-"
        lines.append(
            f"| [{name}](results/studies/{name}/index.html) | {record['question']} | {held} of {len(counted)} claims | "
            f"{first['statement']}: {first['measured']} | {spent} |"
        )
    return "\n".join([*lines, ""])


def scenes_text() -> str:
    """What detector and segmenter reach on fashion-scenes, and the detectors' pace beside torchvision's, as far as it was measured."""
    detector = read_record("recipe-fashion-scenes-c4-cpu")
    found = detector["runs"][0]
    sentences = [
        f"On {detector['environment']['processor']}, 2 threads, one seed: `fashion-scenes-c4` finds the garments of {found['num_images']} "
        f"unseen scenes with an AP of {100 * found['ap50']:.1f} % at IoU 0.5 ({100 * found['ap']:.1f} % at 0.5 to 0.95) after "
        f"{found['training_seconds'] / 60:.1f} minutes."
    ]
    if (RESULTS / "recipe-fashion-scenes-fcn-cpu.json").is_file():
        named = read_record("recipe-fashion-scenes-fcn-cpu")["runs"][0]
        sentences.append(
            f"`fashion-scenes-fcn` names their pixels with a mean IoU of {100 * named['mean_iou']:.1f} % after "
            f"{named['training_seconds'] / 60:.1f} minutes."
        )
    if (RESULTS / "detection-cpu.json").is_file():
        kinds = {"predict": "prediction", "train": "training"}
        rows = read_record("detection-cpu")["rows"]
        ratios = ", ".join(f"{row['ratio']:.2f} ({row['detector']}, {kinds[row['mode']]})" for row in rows)
        sentences.append(
            f"Detectors run at {ratios} times the pace of torchvision's on the same network, with the same weights and pictures."
        )
    return "\n".join(sentences) + "\n"


SECTIONS = {
    "results": training_table,
    "loading": loading_table,
    "kills": kills_sentence,
    "distributed": distributed_sentence,
    "networks": networks_sentence,
    "scenes": scenes_text,
    "studies": studies_table,
}
"""By the name in the comments that enclose each part of the README."""


def rewritten(text: str) -> str:
    """The text with every generated part made anew."""
    for name, make in SECTIONS.items():
        begin = f"<!-- {name}: generated by `python benchmarks/readme_tables.py`; do not edit -->\n"
        end = f"<!-- end of {name} -->\n"
        if begin not in text or end not in text:
            raise SystemExit(f"README.md has no part between {begin.strip()} and {end.strip()}")
        before, _, rest = text.partition(begin)
        text = before + begin + make() + end + rest.partition(end)[2]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    written = rewritten(text)
    if options.check:
        sys.exit(written != text and "README.md is out of step with results/; run python benchmarks/readme_tables.py")
    README.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
