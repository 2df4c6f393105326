"""The page about a run: what is on it, that it loads nothing, and that it holds for every number of classes."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from resnets.classification.recipe import Recipe
from resnets.reports.findings import Explanation, Findings, JudgedImage
from resnets.reports.run_report import flattened, write_report
from resnets.reports.tables import percent
from resnets.training.run import Run


class Outline(HTMLParser):
    """Collects headings, texts, and everything that a page would load from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.tags.append(tag)
        values = dict(attrs)
        addresses = [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action", "poster")]
        self.loaded += [address for address in addresses if not address.startswith(("data:", "#"))]
        if tag == "img":
            self.images.append(values)

    def handle_data(self, data: str) -> None:
        if self.inside in ("h1", "h2") and data.strip():
            self.headings.append(data.strip())
        if self.inside == "style" and ("url(" in data or "@import" in data):
            self.loaded.append(data)
        self.inside = self.inside if self.inside == "style" else ""


def test_everything_is_on_one_page_that_loads_nothing(page: Path, small_run: Run, findings: Findings) -> None:
    outline, text = Outline(page), page.read_text(encoding="utf-8")
    assert outline.headings == [
        "digits", "Training", "Classes", "Confusion matrix", "Most confident mistakes", "Calibration", "Where it looked",
        "Images left out", "Recipe", "Environment",
    ]  # fmt: skip
    assert outline.loaded == []
    assert "iframe" not in outline.tags
    assert outline.tags.count("svg") == 4
    assert text.count("prefers-color-scheme: dark") == 1
    assert percent(small_run.metrics["top1"]) in text
    assert f"<b>{percent(findings.calibration().error)}</b>" in text
    assert "network: cifar-resnet8" in text
    heat_maps = sum(2 if explained.label is None else 3 for explained in findings.explanations)
    assert len(outline.images) == len(findings.mistakes) + heat_maps
    assert all(image["alt"] for image in outline.images)
    assert len(text) < 500_000


def test_names_from_outside_are_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in text
    assert "<b>2</b> images were not used" in text


def made_up(count: int, size: int = 96) -> tuple[dict[str, Any], Findings]:
    """Metrics and findings of a network for `count` classes that was never trained."""
    generator = numpy.random.default_rng(0)
    confusion = numpy.diag(generator.integers(1, 60, count)) + (generator.random((count, count)) < 3 / count)
    noise = torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wrong = tuple(JudgedImage(noise, i, f"folder/{i}.jpg", i % count, (i + 1) % count, 0.9, 0.05) for i in range(24))
    right = JudgedImage(noise, 99, None, 1, 1, 0.8, 0.8)
    heat = torch.linspace(0, 1, size * size).view(size, size)
    findings = Findings(
        torch.linspace(0.2, 1, 50),
        torch.arange(50) % 3 > 0,
        wrong,
        (*(Explanation(right, heat, None) for _ in range(6)), *(Explanation(image, heat, heat) for image in wrong[:4])),
        "conv5_x",
        (7, 7),
    )
    right_count, total = int(confusion.diagonal().sum()), int(confusion.sum())
    done = {
        "event": "done", "step": 9, "epoch": 1.0, "time": 3.0, "top1": right_count / total, "top5": 0.9 if count > 5 else None,
        "loss": 1.2, "num_images": total, "confusion": confusion.tolist(), "training_seconds": 4000.0, "images_per_second": 1234.0,
    }  # fmt: skip
    return done, findings


def write(path: Path, count: int, findings: Findings | None, done: dict[str, Any], **more: Any) -> Outline:
    events = [{"event": "step", "epoch": 1.0, "loss": 2.0, "accuracy": 0.4, "learning_rate": 0.1}, done]
    write_report(path, Recipe(), events, [f"class {i}" for i in range(count)], {"torch": None}, findings, **more)
    return Outline(path)


@pytest.mark.parametrize("count", [2, 10, 40, 41, 1000])
def test_every_number_of_classes(count: int, tmp_path: Path) -> None:
    done, findings = made_up(count, 224)
    outline, text = write(tmp_path / "page.html", count, findings, done), (tmp_path / "page.html").read_text(encoding="utf-8")
    assert outline.loaded == []
    assert len(text) < 2_000_000
    assert text.count('<tr><th scope="row">class ') >= count
    whole = count <= 40
    assert ('class="matrix"' in text) == whole
    assert ("The whole matrix" in text) == (not whole)
    assert (f"All {count:,} classes" in text) == (not whole)
    if whole:
        matrix = text[text.index('class="matrix"') :]
        assert matrix[: matrix.index("</table>")].count("<td") == count * count + 1


def test_without_findings_and_without_mistakes(tmp_path: Path) -> None:
    done, findings = made_up(3)
    outline = write(tmp_path / "page.html", 3, None, done)
    assert outline.headings == ["custom", "Training", "Classes", "Confusion matrix", "Recipe", "Environment"]
    assert outline.tags.count("svg") == 3
    perfect = dataclasses.replace(findings, mistakes=(), explanations=())
    outline = write(tmp_path / "page.html", 3, perfect, {**done, "confusion": [[5, 0, 0], [0, 0, 0], [0, 0, 2]]})
    assert "None: every image was right." in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Where it looked" not in outline.headings


def test_probabilities_that_are_no_numbers_do_not_lose_the_page(tmp_path: Path) -> None:
    done, findings = made_up(3)
    broken = dataclasses.replace(findings, confidences=torch.full((50,), torch.nan))
    outline = write(tmp_path / "page.html", 3, broken, {**done, "loss": float("nan")})
    assert "Calibration" in outline.headings
    assert "probabilities are no numbers" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_many_images_left_out_are_counted_and_the_first_named(tmp_path: Path) -> None:
    done, _ = made_up(3)
    write(tmp_path / "page.html", 3, None, done, excluded=[(f"{i}.jpg", "empty") for i in range(1234)])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>1,234</b> images were not used" in text
    assert "199.jpg" in text
    assert "200.jpg" not in text
    assert "and 1,034 more" in text


def test_fields_by_the_names_of_the_command_line() -> None:
    recipe = Recipe(epochs=3, optimizer={"name": "adam", "betas": [0.8, 0.9]})
    changed = flattened(recipe.model_dump(mode="json", exclude_defaults=True))
    assert changed == {"epochs": 3, "optimizer.name": "adam", "optimizer.betas": [0.8, 0.9]}
