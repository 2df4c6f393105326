"""Writes the tables of README.md and README.zh-CN.md from the records in results/; their words are in readme_words.py.

python benchmarks/readme_tables.py            # rewrites both
python benchmarks/readme_tables.py --check    # exit status 1 where one is out of step
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

from readme_words import WORDS, in_chinese
from records import RESULTS, read_record

from resnets.inspection.zoo_costs import zoo_cost

READMES = {"en": RESULTS.parent / "README.md", "zh": RESULTS.parent / "README.zh-CN.md"}
"""By language."""
Words = Mapping[str, str]


def _said(words: Words) -> Callable[[str], str]:
    """What turns a record's English into the language of the words."""
    return in_chinese if words is WORDS["zh"] else str


def training_table(words: Words) -> str:
    """The recipes against the tutorial's loop."""
    record = read_record("training-cpu")
    rounds, summary = record["rounds"], record["summary"]
    speed = [r["tutorial_loop"]["images_per_second"] for r in rounds]
    lines = [
        words["training"].format(**record["environment"] | {"rounds": len(rounds), "low": min(speed), "high": max(speed)}),
        "",
        words["training columns"],
        "|---|---|---|---|",
    ]
    ours, theirs = (max(r[key]["peak_memory_bytes"] for r in rounds) / 2**30 for key in ("fashion-mnist-tutorial", "tutorial_loop"))
    lines.append(words["same job"].format(ratio=summary["fashion-mnist-tutorial"]["ratio"]["mean"], ours=ours, theirs=theirs))
    for name in [key for key in summary if key != "fashion-mnist-tutorial"]:
        top1 = summary[name]["top1"]
        lines.append(
            words["recipe"].format(
                name=name,
                top1=100 * top1["mean"],
                deviation=100 * top1["standard_deviation"],
                rounds=len(rounds),
                seconds=summary[name]["training_seconds"]["mean"],
                ratio=summary[name]["ratio"]["mean"],
            )
        )
    machine = read_record("machine-cpu")
    rates = {precision: machine[f"{precision}_matrix_gflops"]["best"] for precision in ("bf16", "fp32")}
    # Forward, gradient of the data and gradient of the weights; two operations a multiply-add.
    operations = 3 * 2 * zoo_cost("tutorial-resnet18")[1] / 1e9
    our_pace = statistics.mean(r["fashion-mnist-tutorial"]["images_per_second"] for r in rounds)
    shares = {
        "ours": 100 * our_pace * operations / rates["bf16"],
        "theirs": 100 * statistics.mean(speed) * operations / rates["fp32"],
    }
    lines += ["", words["arithmetic"].format(**shares, **rates)]
    return "\n".join(lines)


def loading_table(words: Words) -> str:
    """Loading against torchvision's."""
    record = read_record("loading-cpu")
    lines = [
        words["loading"].format(processor=record["environment"]["processor"], **record["settings"]),
        "",
        words["loading columns"],
        "|---|---|---|---|---|",
    ]
    for kept in record["sets"].values():
        width, height = kept["files"]["about"]
        measured = kept["summary"]
        memory = {engine: measured[engine]["peak_memory_bytes"] / 2**30 for engine in measured}
        cells = [
            words["loading set"].format(width=width, height=height),
            words["loading peer"].format(rate=measured["torchvision"]["images_per_second"], memory=memory["torchvision"]),
        ]
        for engine in ("stream", "memory", "disk"):
            cells.append(words["loading ours"].format(ratio=measured[engine]["ratio"], memory=memory[engine]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def kills_sentence(words: Words) -> str:
    """What killing came to, in all and for each task, way of loading and number of processes."""
    record = read_record("kills-cpu")
    peers = [
        {**row, "cell": f"{row['peer']} {row['version']}", "half_written": "–"} for row in read_record("kill-peers-cpu")["peers"]
    ]
    if not all(peer["repeats_itself"] for peer in peers):
        raise SystemExit("kill-peers-cpu: a peer does not repeat itself, which the sentence above the table denies; say so there")
    rows = "\n".join(words["kills row"].format(**row) for row in (*record["cells"], *peers))
    return words["kills"].format(rows=rows, **{key: record[key] for key in ("kills", "half_written", "equal", "runs")})


def security_sentence(words: Words) -> str:
    """What fuzzing came to."""
    record = read_record("security")
    counts = {key: record[key] for key in ("inputs", "refused", "understood", "harms")}
    limits = {"gigabytes": record["limits"]["bytes"] / 2**30, "seconds": record["limits"]["seconds"]}
    return words["security"].format(kinds=len(record["parsers"]), **counts, **limits)


def distributed_sentence(words: Words) -> str:
    """How much faster several processes are."""
    record = read_record("distributed-cpu")
    shares = [
        words["share"].format(percent=100 * next(iter(row["efficiency"].values())), network=_said(words)(row["network"]))
        for row in record["rows"]
    ]
    return words["distributed"].format(
        shares=words["and"].join(shares), processor=record["environment"]["processor"], batch=record["batch"]
    )


def networks_sentence(words: Words) -> str:
    """Our modules against the peers'."""
    record = read_record("networks-cpu")
    ratios = [value for row in record["rows"] for value in row["ratio"].values()]
    return words["networks"].format(
        precision=record["settings"]["precision"],
        batch=record["settings"]["batch"],
        low=min(ratios),
        high=max(ratios),
        median=statistics.median(ratios),
        processor=record["environment"]["processor"],
    )


STUDIES = ("degradation", "shortcut-ablation", "activation-order", "signal", "bottleneck")


def studies_table(words: Words) -> str:
    """What the studies that were run here came to."""
    said = _said(words)
    lines = [words["studies columns"], "|---|---|---|---|---|"]
    for name in STUDIES:
        record = json.loads((RESULTS / "studies" / name / "record.json").read_text(encoding="utf-8"))
        counted = [outcome for outcome in record["outcomes"] if outcome["key"]]
        first = next(outcome for outcome in counted if outcome["mean"])
        cells = [
            f"[{name}](results/studies/{name}/index.html)",
            said(record["question"]),
            words["held"].format(held=sum(outcome["holds"] is True for outcome in counted), counted=len(counted)),
            words["finding"].format(statement=said(first["statement"]), measured=said(first["measured"])),
            words["study minutes"].format(minutes=record["seconds"] / 60) if record["seconds"] else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def scenes_text(words: Words) -> str:
    """What detector and segmenter reach on fashion-scenes, and the detectors' speed beside torchvision's, as far as it was measured."""
    detector = read_record("recipe-fashion-scenes-c4-cpu")
    found = detector["runs"][0]
    sentences = [
        words["detector"].format(
            processor=detector["environment"]["processor"],
            images=found["num_images"],
            ap50=100 * found["ap50"],
            ap=100 * found["ap"],
            minutes=found["training_seconds"] / 60,
        )
    ]
    if (RESULTS / "recipe-fashion-scenes-fcn-cpu.json").is_file():
        named: dict[str, Any] = read_record("recipe-fashion-scenes-fcn-cpu")["runs"][0]
        averaged = named["with_additions_in_testing"]["mean_iou"]
        sentences.append(
            words["segmenter"].format(iou=100 * named["mean_iou"], minutes=named["training_seconds"] / 60, averaged=100 * averaged)
        )
    if (RESULTS / "detection-cpu.json").is_file():
        rows = read_record("detection-cpu")["rows"]
        ratios = [
            words["speed"].format(ratio=row["ratio"], detector=row["detector"], mode=words[row["mode"]])
            for row in rows
            if row["mode"] != "memory"
        ]
        if ratios:
            sentences.append(words["detectors' speed"].format(ratios=words["comma"].join(ratios)))
        sentences += [_memory(row, words) for row in rows if row["mode"] == "memory"]
    return "\n".join(sentences)


def shipping_text(words: Words) -> str:
    """How fast networks predict and train beside the peers' engines, and what less precision costs."""
    record = read_record("shipping-cpu")
    networks = record["networks"]
    batches = sorted({row["batch"] for made in networks.values() for row in made["summary"] if row["mode"] == "predict"})
    lines = [
        words["shipping"].format(processor=record["environment"]["processor"], threads=next(iter(networks.values()))["threads"]),
        "",
        words["shipping columns"].format(batches=" | ".join(words["batch"].format(batch=each) for each in batches)),
        "|---|---|" + "---|" * len(batches),
    ]
    for name, made in networks.items():
        for mode, precision in dict.fromkeys((row["mode"], row["precision"]) for row in made["summary"]):
            rows = {row["batch"]: row for row in made["summary"] if (row["mode"], row["precision"]) == (mode, precision)}
            cells = [_shipped(rows[batch], words) if batch in rows else "" for batch in batches]
            lines.append(f"| {name} | {words[mode]}, {precision} | {' | '.join(cells)} |")
    record = read_record("quantization-cpu")
    engines = [
        words["engine's drop"].format(
            engine=row["engine"], precision=row["precision"], top1=100 * row["top1"], same=100 * row["top1_agreement"]
        )
        for row in record["rows"][1:]
        if not row["engine"].startswith("torch")
    ]
    lines += [
        "",
        words["quantization"].format(
            images=record["num_images"], top1=100 * record["rows"][0]["top1"], engines=words["semicolon"].join(engines)
        ),
    ]
    return "\n".join(lines)


def _shipped(row: dict[str, Any], words: Words) -> str:
    peer = row["ratio_to_fastest_peer"]
    beside = words["shipped"].format(speed=row["images_per_second"], eager=row["ratio_to_torchvision_eager_fp32"])
    return beside if peer is None else beside + words["shipped beside"].format(ratio=peer, peer=row["fastest_peer"])


def _memory(row: dict[str, Any], words: Words) -> str:
    peaks = {kind: size / 2**30 for kind, size in row["peak_memory_bytes"].items()}
    return words["detector's memory"].format(detector=row["detector"], **peaks, **row["settings"])


SECTIONS: dict[str, Callable[[Words], str]] = {
    "results": training_table,
    "loading": loading_table,
    "kills": kills_sentence,
    "security": security_sentence,
    "distributed": distributed_sentence,
    "networks": networks_sentence,
    "scenes": scenes_text,
    "shipping": shipping_text,
    "studies": studies_table,
}
"""By the name in the comments that enclose each part of the READMEs."""


def part(text: str, name: str) -> tuple[str, str, str]:
    """What comes before a generated part of a README, in it and after it.

    Raises:
        SystemExit: the README has no such part.
    """
    begin = f"<!-- {name}: generated by `python benchmarks/readme_tables.py`; do not edit -->\n"
    end = f"<!-- end of {name} -->\n"
    if begin not in text or end not in text:
        raise SystemExit(f"a README has no part between {begin.strip()} and {end.strip()}")
    before, _, rest = text.partition(begin)
    inside, _, after = rest.partition(end)
    return before + begin, inside, end + after


def rewritten(text: str, words: Words) -> str:
    """The text with every generated part made anew."""
    for name, make in SECTIONS.items():
        before, _, after = part(text, name)
        text = f"{before}{make(words)}\n{after}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for language, readme in READMES.items():
        text = readme.read_text(encoding="utf-8")
        written = rewritten(text, WORDS[language])
        if not options.check:
            readme.write_text(written, encoding="utf-8")
        elif written != text:
            sys.exit(f"{readme.name} is out of step with results/; run python benchmarks/readme_tables.py")


if __name__ == "__main__":
    main()
