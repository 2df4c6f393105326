"""The report in a real browser, without a network: what is drawn, what fails, what the script does."""

from __future__ import annotations

import html
import io
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from chromium import find_browser

# Is at the head of the page, so that it hears of everything after it, and writes what it saw into the frame's owner at the end.
PROBE = """<script>
const seen = { errors: [] };
addEventListener("error", (event) => seen.errors.push(event.message || "could not load " + event.target.tagName), true);
addEventListener("securitypolicyviolation", (event) => seen.errors.push("asked for " + event.blockedURI));
addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const page = document.documentElement;
  seen.width = innerWidth;
  seen.overflow = page.scrollWidth - page.clientWidth;
  seen.images = [...document.images].map((image) => image.naturalWidth);
  seen.drawings = [...document.querySelectorAll("svg")].map((svg) => svg.getBoundingClientRect().width);
  seen.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  const table = document.querySelector("table.sortable");
  const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
  const column = (i) => [...table.tBodies[0].rows].map((row) => row.cells[i].dataset.value);
  if (table) {
    const press = (i) => table.tHead.rows[0].cells[i].querySelector("button").click();
    seen.order = names();
    press(2);
    seen.ascending = column(2);
    press(2);
    seen.descending = column(2);
    seen.marks = [...table.tHead.rows[0].cells].map((cell) => cell.getAttribute("aria-sort"));
    press(0);
    seen.byName = names();
  }
  parent.document.documentElement.dataset.seen = JSON.stringify(seen);
});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """The browser's command."""
    return find_browser()


def browse(browser: str, page: Path, folder: Path, width: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Opens a page in a window of `width` pixels, with a fresh profile and no name on the network resolved."""
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--no-first-run",
        "--disable-background-networking", "--disable-dev-shm-usage", "--disable-component-update", "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--window-size={width},900", "--enable-logging=stderr", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


class Root(HTMLParser):
    """The attributes of the document's root."""

    attributes: dict[str, str | None]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "html":
            self.attributes = dict(attrs)


def look(browser: str, page: Path, folder: Path, width: int) -> dict[str, Any]:
    """What the probe saw in a copy of the page, and what the browser's console said."""
    text = page.read_text(encoding="utf-8")
    probed = folder / "probed.html"
    # In a frame, because a window cannot be as narrow as a telephone.
    inside = html.escape(text.replace("<head>", f"<head>{PROBE}", 1))
    probed.write_text(
        f'<!doctype html><html><iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{inside}"></iframe></html>',
        encoding="utf-8",
    )
    answer = browse(browser, probed, folder, 1400, "--dump-dom")
    root = Root()
    root.feed(answer.stdout)
    seen: dict[str, Any] = json.loads(root.attributes["data-seen"] or "")
    return {**seen, "console": re.findall(r"CONSOLE.*", answer.stderr)}


def screenshot(browser: str, page: Path, folder: Path, width: int, *options: str) -> PIL.Image.Image:
    """The top of the page as it is drawn."""
    image = folder / "screenshot.png"
    browse(browser, page, folder, width, f"--screenshot={image}", *options)
    return PIL.Image.open(io.BytesIO(image.read_bytes())).convert("RGB")


@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_works(browser: str, page: Path, tmp_path: Path, width: int) -> None:
    seen = look(browser, page, tmp_path, width)
    assert seen["width"] == width
    assert seen["errors"] == seen["console"] == seen["fetched"] == []
    assert seen["overflow"] <= 0
    assert len(seen["images"]) == page.read_text(encoding="utf-8").count("<img ")
    assert all(natural > 0 for natural in seen["images"])
    assert len(seen["drawings"]) == 4
    assert all(100 < drawn <= width for drawn in seen["drawings"])
    accuracies = sorted(map(float, seen["ascending"]))
    assert len(accuracies) == 10
    assert list(map(float, seen["ascending"])) == accuracies
    assert list(map(float, seen["descending"])) == accuracies[::-1]
    assert seen["marks"] == [None, None, "descending", None, None, None]
    assert seen["byName"] == seen["order"]  # digits come in the order of their names


def test_it_is_drawn_light_and_dark(browser: str, page: Path, tmp_path: Path) -> None:
    light = screenshot(browser, page, tmp_path, 1200)
    dark = screenshot(browser, page, tmp_path, 360, "--blink-settings=preferredColorScheme=0")
    assert light.width == 1200
    assert dark.width == 360
    assert min(light.getpixel((2, 2))) > 240  # type: ignore[arg-type]
    assert max(dark.getpixel((2, 2))) < 40  # type: ignore[arg-type]
    for image in (light, dark):
        assert len(image.getcolors(image.width * image.height)) > 50  # type: ignore[arg-type]


def test_the_probe_sees_what_is_wrong(browser: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><html><head><meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:;"
        " style-src 'unsafe-inline'; script-src 'unsafe-inline'\"></head><body><img src=data:image/png;base64,AAAA>"
        "<img src=http://images.invalid/a.png><div style='width: 3000px'>wide</div><svg width=20></svg>"
        "<script>console.error('told'); absent.call()</script></body></html>"
    )
    seen = look(browser, bad, tmp_path, 600)
    assert seen["images"] == [0, 0]
    assert seen["overflow"] > 2000
    errors = " ".join(seen["errors"])
    for part in ("absent is not defined", "could not load IMG", "asked for http://images.invalid/a.png"):
        assert part in errors
    assert any("told" in line for line in seen["console"])
