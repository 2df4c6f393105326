"""benchmarks/gpu.py on a CPU, with tiny networks: every part makes its rows, and one that fails is recorded while the others go on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module gpu_parts, with nothing compiled, as `--tiny` has it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    pytest.importorskip("timm")
    import gpu_parts

    with torch.compiler.set_stance("force_eager"):
        yield gpu_parts


def rows_of(parts: Any, name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The rows that a part prints."""
    parts.PARTS[name](parts.Part(argparse.Namespace(device="cpu", tiny=True, seconds=10_000)))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_training_beside_timm(parts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    machine, size, *settings = rows_of(parts, "training", capsys)
    assert machine["machine"]["macs_per_second"]["bf16"] > 0
    assert size["megabytes_an_image"]["separate"] > size["megabytes_an_image"]["epilogue"] > 0
    assert [row["setting"] for row in settings] == ["eager", "compiled"]
    for row in settings:
        assert set(row["engines"]) == {"resnets, synthetic", "resnets, resident", "timm, synthetic", "timm, resident"}
        ours = row["engines"]["resnets, resident"]
        assert ours["share_of_matrix_rate"] == pytest.approx(
            3 * machine["macs"] * ours["images_per_second"] / machine["machine"]["macs_per_second"]["bf16"]
        )
        assert ours["ratio_to_timm"] > 0


@pytest.mark.parametrize("name", ["prediction", "small", "depth"])
def test_other_parts_measure(parts: Any, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(parts, name, capsys)
    speeds = [row["images_per_second"] for row in rows if "images_per_second" in row]
    speeds += [values["images_per_second"] for row in rows for values in row.get("engines", {}).values()]
    assert len(speeds) >= 2
    assert min(speeds) > 0
    assert not any("left_out" in row for row in rows)


def test_detection_trains_or_says_that_it_is_not_there(
    parts: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "find_spec", lambda name: None)
    assert rows_of(parts, "detection", capsys) == [{"left_out": "detection", "reason": "resnets.detection is not installed"}]


def test_a_part_without_time_says_so(parts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    part = parts.Part(argparse.Namespace(device="cpu", tiny=True, seconds=0))
    assert list(part.settings()) == ["eager"]
    assert json.loads(capsys.readouterr().out)["left_out"] == "compiled"


def test_a_part_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import gpu

    script = tmp_path / "parts.py"
    script.write_text(
        "import sys\nprint('{\"row\": 1}', flush=True)\n"
        "if sys.argv[1] == 'training': raise SystemExit('no such device')\n"
        "if sys.argv[1] == 'small': import time; time.sleep(60)\n"
    )
    monkeypatch.setattr(gpu, "PARTS", script)
    options = argparse.Namespace(device="cpu", tiny=True)
    failed, late, good = (gpu.run_part(name, seconds, options) for name, seconds in (("training", 60), ("small", 2), ("depth", 60)))
    assert (failed["rows"], failed["error"]) == ([{"row": 1}], "no such device")
    assert late["error"] == "out of time: stopped after 3 s"
    assert good["rows"] == [{"row": 1}]
    assert "error" not in good
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--parts", "training", "depth", "--output", str(tmp_path / "made.json")])
    gpu.main()
    record = json.loads((tmp_path / "made.json").read_text())
    assert record["record"] == "made"
    assert ["error" in record["parts"][name] for name in ("training", "depth")] == [True, False]
