"""The sources of a dataset's files that need a network: the publishers' addresses and Debian's package."""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DataError, NotThere
from .files import DataFile, verify

TIMEOUT = 10.0
"""Seconds without an answer after which a connection is given up, so that a machine without a network fails soon."""
APT_LIMIT = 600.0
"""Seconds after which a command of apt is stopped."""

# The place where the download is put is at fault and not the network: another mirror would fail the same way.
_STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
# What apt-get says (in the C locale) if its lists are empty or old, as in a container image; a fresh list cures that.
_LISTS_AT_FAULT = ("Unable to locate package", "Can't select candidate", "Can't find a source", "no installation candidate", "404 ")
# apt-get update would run these hooks, some of which clean the system's own cache.
_NO_HOOKS = "".join(f"#clear APT::Update::{hook};\n" for hook in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"))


def from_mirrors(file: DataFile, folder: Path, report: Callable[[str], None]) -> Path:
    """Fetch one archive of Fashion-MNIST into `folder` with torchvision's downloader, from the mirrors that it lists.

    Raises:
        NotThere: no mirror gave the right file; with each one's reason.
        OSError: `folder` is full or cannot be written.
    """
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.utils import download_url

    reasons = []
    target = folder / file.archive_name
    for mirror in FashionMNIST.mirrors:
        url = f"{mirror.rstrip('/')}/{file.archive_name}"
        report(f"fetching {url}")
        try:
            with _connections_time_out():
                download_url(url, str(folder), file.archive_name)
            verify(target, file)
            return target
        except (OSError, http.client.HTTPException, RuntimeError, DataError) as error:
            if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
                raise
            target.unlink(missing_ok=True)  # the downloader would take it for finished
            reasons.append(f"{url}: {error or type(error).__name__}")
    raise NotThere("; ".join(reasons) or "torchvision lists no mirror")


def download(url: str, folder: Path, report: Callable[[str], None]) -> Path:
    """Fetch one file into `folder` under the last part of its address, unchecked.

    Raises:
        NotThere: no answer, or a wrong one.
        OSError: `folder` is full or cannot be written.
    """
    from torchvision.datasets.utils import download_url

    name = url.rpartition("/")[2]
    report(f"fetching {url}")
    try:
        with _connections_time_out():
            download_url(url, str(folder), name)
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno in _STORAGE_ERRORS:
            raise
        raise NotThere(f"{url}: {error or type(error).__name__}") from error
    return folder / name


def from_debian(package: str, folder: Path, report: Callable[[str], None]) -> Path:
    """Fetch a package of Debian into `folder` and unpack it there, without installing it; the root of what was unpacked.

    Nothing of the system changes: where apt's own lists do not know the package, fresh ones are read into `folder`.

    Raises:
        NotThere: apt-get or dpkg is missing, or one of them failed; with what it said.
        OSError: `folder` is full or cannot be written.
    """
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb") or shutil.which("dpkg")
    if apt is None or dpkg is None:
        raise NotThere(f"{'dpkg-deb' if apt else 'apt-get'} is not on this machine")
    download, unpacked, lists, cache = (folder / part for part in ("download", "unpacked", "lists", "cache"))
    for made in (download, unpacked, lists / "partial", cache / "archives" / "partial"):
        made.mkdir(parents=True)
    hooks = folder / "apt.conf"
    hooks.write_text(_NO_HOOKS)
    settings = ["-q", "-c", str(hooks), "-o", f"Dir::Cache={cache}", "-o", "Acquire::Retries=0"]
    settings += [part for kind in ("http", "https") for part in ("-o", f"Acquire::{kind}::Timeout={TIMEOUT:.0f}")]
    own_lists = [*settings, "-o", f"Dir::State::Lists={lists}"]

    report(f"fetching Debian's package {package}")
    try:
        _run([apt, *settings, "download", package], download)
    except NotThere as error:
        if not any(sign in str(error) for sign in _LISTS_AT_FAULT):
            raise
        report("reading Debian's lists of packages, apart from the system's")
        _run([apt, *own_lists, "update"], download)
        _run([apt, *own_lists, "download", package], download)
    archive = next(download.glob("*.deb"), None)
    if archive is None:
        raise NotThere(f"apt-get ended well but left no package {package}")
    _run([dpkg, "-x", str(archive), str(unpacked)], download)
    return unpacked


def _run(command: list[str], folder: Path) -> None:
    """Run a command inside `folder`; NotThere, with the last things it said, unless it ends well."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=APT_LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotThere(f"{name} was stopped after {APT_LIMIT:.0f} seconds") from error
    except OSError as error:
        raise NotThere(f"{name} cannot be run: {error.strerror or error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("E:")] or lines  # apt's errors apart from its warnings
        raise NotThere(f"{name} failed: {' '.join(said[-3:]) or f'exit status {done.returncode}'}")


@contextmanager
def _connections_time_out() -> Iterator[None]:
    """torchvision's downloader takes no timeout and would wait for ever: it follows the process's default for new sockets."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
