"""A headless browser that tests drive: pages opened, files chosen, elements pressed, every request seen.

The browser is the one that the variable CHROMIUM names, or the first of chromium, chromium-browser and google-chrome that is installed.
It is driven over the DevTools protocol through a pair of pipes: commands and events are JSON, each with a zero byte after it.
"""

from __future__ import annotations

import base64
import io
import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

PLUMBER = """
import fcntl, os, sys
far = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for near, number in zip((3, 4), far):
    os.dup2(number, near)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes where the browser looks for them, at descriptors 3 and 4, whatever their numbers are here, and becomes the browser."""


def find_browser() -> str:
    """The browser's command; without one the test is skipped, or fails where RESNETS_REQUIRE_BROWSER=1."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        reason = "no browser: install chromium, or name one in the variable CHROMIUM"
        if os.environ.get("RESNETS_REQUIRE_BROWSER") == "1":
            pytest.fail(f"RESNETS_REQUIRE_BROWSER=1, but there is {reason}")
        pytest.skip(reason)
    return found


class Chromium:
    """A browser with one page, closed at the end of the block.

    Attributes:
        requested: the address of every request so far, those for data: and blob: left out.
        console: what the page said of warnings and errors.
    """

    def __init__(self, command: str, profile: Path, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        self.requested: list[str] = []
        self.console: list[str] = []
        self.status: dict[str, int] = {}
        self._number, self._pending, self._session = 0, b"", ""
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        command_line = [
            command, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run",
            "--disable-background-networking", "--disable-dev-shm-usage", "--disable-component-update", "--hide-scrollbars",
            f"--window-size={width},{height}", "--remote-debugging-pipe", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", PLUMBER, str(theirs_in), str(theirs_out), *command_line],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._heard = selectors.DefaultSelector()
        self._heard.register(self._from, selectors.EVENT_READ)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        if dark:
            self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._to)  # the browser ends with its pipe
        os.close(self._from)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(60)
            if answer is None:
                raise TimeoutError(f"the browser did not answer {method} within 60 s")
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def go(self, address: str) -> None:
        """Opens a page."""
        self.ask("Page.navigate", url=address)

    def value(self, expression: str) -> Any:
        """What an expression is in the page; of a promise, its result."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 120) -> Any:
        """The expression's value as soon as there is a true one."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} did not come true; the page says: {self.value('document.body.innerText')}")
            time.sleep(0.05)
        return found

    def choose(self, selector: str, *files: Path) -> None:
        """Gives files to the first <input type=file> that the selector finds, as if they had been chosen or dropped."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(file.absolute()) for file in files])

    def press(self, selector: str) -> None:
        """Presses the first element that the selector finds."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def screenshot(self) -> PIL.Image.Image:
        """The window as it is drawn."""
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        return PIL.Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """The next message, whose event is noted; None where none comes in time."""
        while b"\0" not in self._pending:
            if not self._heard.select(seconds):
                return None
            part = os.read(self._from, 1 << 16)
            if not part:
                raise RuntimeError("the browser has gone")
            self._pending += part
        raw, self._pending = self._pending.split(b"\0", 1)
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("data:", "blob:")):
            self.requested.append(told["request"]["url"])
        elif method == "Network.responseReceived":
            self.status[told["response"]["url"]] = told["response"]["status"]
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("warning", "error"):
            self.console.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("warning", "error"):
            self.console.append(" ".join(str(argument.get("value", argument.get("description"))) for argument in told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(told["exceptionDetails"].get("exception", {}).get("description", "an exception"))
