"""Two hosts, made of network namespaces with a cable between them: one is cut off and comes back, and training goes on throughout."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resnets.classification.recipes import get_recipe
from resnets.training.run import RunDirectory

MARK = f"resnets{os.getpid() % 10000}"
HOSTS = {"a": "10.213.7.1", "b": "10.213.7.2"}
PORT = 29431


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_make_hosts() -> bool:
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"{MARK}probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        ip("netns", "delete", name)
    return made


@pytest.fixture
def cable() -> Iterator[None]:
    """Namespaces MARKa and MARKb, whose interfaces `cable` are the two ends of one virtual cable."""
    for host in HOSTS:
        ip("netns", "add", MARK + host)
    try:
        ends = [f"v{MARK[-4:]}{host}" for host in HOSTS]
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for end, (host, address) in zip(ends, HOSTS.items(), strict=True):
            ip("link", "set", end, "netns", MARK + host)
            inside = ("-n", MARK + host)
            ip(*inside, "link", "set", end, "name", "cable")
            ip(*inside, "address", "add", f"{address}/24", "dev", "cable")
            ip(*inside, "link", "set", "cable", "up")
            ip(*inside, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            ip("netns", "delete", MARK + host)


class Host:
    """torchrun on one host, started anew when it ends, as a cluster's scheduler would; its events as they come."""

    def __init__(self, name: str, folder: Path) -> None:
        settings = "join_timeout=120,last_call_timeout=3,keep_alive_interval=1,keep_alive_max_attempt=4"
        self.command = [
            "ip", "netns", "exec", MARK + name, sys.executable, "-m", "torch.distributed.run",
            "--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "20", "--monitor-interval", "0.3",
            "--rdzv-id", "two-hosts", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{HOSTS['a']}:{PORT}",
            "--rdzv-conf", f"{settings},is_host={int(name == 'a')},read_timeout=20", "--local-addr", HOSTS[name],
            "-m", "resnets", "train", "--recipe", "recipe.yaml", "--output", "run", "--json",
        ]  # fmt: skip
        self.environment = {**os.environ, "GLOO_SOCKET_IFNAME": "cable", "TORCH_DISABLE_ADDR2LINE": "1"}
        self.folder, self.events, self.over = folder, list[dict[str, Any]](), False
        self.errors = (folder / f"{name}.err").open("w")
        self.process = self._start()
        self.thread = threading.Thread(target=self._attend, daemon=True)
        self.thread.start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=self.errors, text=True,
            start_new_session=True,
        )  # fmt: skip

    def _attend(self) -> None:
        while not self.over:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                self.events.append(json.loads(line))
            self.process.wait()
            if not self.over:
                time.sleep(1)
                self.process = self._start()

    def stop(self) -> None:
        self.over = True
        os.killpg(self.process.pid, signal.SIGKILL)
        self.thread.join(20)
        self.errors.close()


def wait_for(what: str, condition: Any, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)


def starts(*hosts: Host) -> list[int]:
    """The number of processes at each start, of which only the main process reports, on whichever host it is."""
    return [event["processes"] for host in hosts for event in host.events if event["event"] == "start"]


@pytest.mark.skipif(not can_make_hosts(), reason="making network namespaces needs root and the ip command")
def test_a_host_that_is_cut_off_and_comes_back(tmp_path: Path, cable: None) -> None:
    recipe = get_recipe(
        "digits", network="cifar-resnet8:norm=group,norm_groups=4", epochs=100_000, checkpoint_steps=10, report=False,
        log_every=1, evaluation__every=0, distributed__timeout=8.0, precision="fp32",
    )  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    run = RunDirectory(tmp_path / "run")
    hosts = [Host(name, tmp_path) for name in HOSTS]

    def last_step() -> int:
        return max((event["step"] for event in run.events()), default=0)

    try:
        wait_for("training on both hosts", lambda: 2 in starts(*hosts) and last_step() > 30)
        ip("-n", MARK + "b", "link", "set", "cable", "down")
        wait_for("going on with one host", lambda: 1 in starts(*hosts))
        alone = last_step()
        wait_for("steps of one host", lambda: last_step() > alone + 30)
        ip("-n", MARK + "b", "link", "set", "cable", "up")
        wait_for("training on both hosts again", lambda: starts(*hosts).count(2) >= 2)
        together = last_step()
        wait_for("steps of both hosts again", lambda: last_step() > together + 30)
    finally:
        for host in hosts:
            host.stop()
    steps = [event["step"] for event in run.events() if event["event"] == "step"]
    assert steps == list(range(1, len(steps) + 1)), "no step is missing, and none is there twice"
