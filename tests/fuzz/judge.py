"""Whether an input harmed: a forked process parses it under watch.

Harm is: an event of Python's audit that a parser has no use for (a process started, code compiled or executed, a socket, a file written
outside its folder, a file read that is none of Python's own), an error that is not declared, a death, more memory than `MEMORY`,
or more time than `SECONDS`.
"""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutations import mutated
from parsers import Parser

MEMORY, SECONDS = 2 * 2**30, 10.0
"""Bytes that parsing one input may take, and seconds."""
_FORBIDDEN = (
    "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "socket.connect", "socket.bind", "ctypes.dlopen",
    "shutil.rmtree",
)  # fmt: skip
_BATCH = 200
Inputs = Callable[[int], bytes]
"""The input of a number."""
_guard: dict[str, Any] = {"on": False, "folder": "", "harm": ""}


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook; it can never be taken out again, so it asks whether it is on."""
    if not _guard["on"]:
        return
    if event in _FORBIDDEN or (event == "exec" and not _is_import()) or (event == "pickle.find_class"):
        _guard["harm"] = _guard["harm"] or f"{event} {str(arguments)[:100]}"
        raise RuntimeError("harm")
    if event == "open" and isinstance(arguments[0], str | bytes):
        name, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = os.path.abspath(name).startswith(_guard["folder"])
        if writes and not inside and name != os.devnull:
            _guard["harm"] = _guard["harm"] or f"wrote {name!r} ({mode})"
            raise RuntimeError("harm")
        if not writes and not inside and name.startswith(("/etc/passwd", "/etc/hostname", "/dev/zero")):
            _guard["harm"] = _guard["harm"] or f"read {name!r}"
            raise RuntimeError("harm")


def _is_import() -> bool:
    """Whether the code that is executed is a module's, which is imported now for the first time, or a class's that a library makes."""
    frame = sys._getframe(2)
    while frame is not None:
        if (
            frame.f_code.co_filename.startswith("<frozen importlib")
            or "site-packages" in frame.f_code.co_filename
            or "/lib/python" in frame.f_code.co_filename
        ):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


@dataclass
class Tally:
    """What came of a parser's inputs."""

    inputs: int = 0
    understood: int = 0
    refused: int = 0
    slowest: float = 0.0
    largest: int = 0
    harms: list[tuple[str, bytes]] = field(default_factory=list)


def verdict(parser: Parser, content: bytes, folder: Path) -> tuple[str, str]:
    """ "understood" or "refused", or "harm" with what it was."""
    path = folder / f"input{parser.ending}"
    path.write_bytes(content)
    _guard.update(on=True, folder=str(folder), harm="")
    try:
        parser.parse(path)
        result = ("understood", "")
    except (ValueError, OSError) as error:
        import pydantic

        message = str(error)
        plain = (ValueError, OSError, FileNotFoundError, IsADirectoryError, PermissionError)
        declared = type(error).__module__.startswith("resnets.") or type(error) in plain
        if isinstance(error, pydantic.ValidationError) or not declared:
            result = ("harm", f"undeclared {type(error).__name__}: {message[:200]}\n{traceback.format_exc()[-1500:]}")
        elif not message or "Traceback" in message:
            result = ("harm", f"no message for people: {message[:200]!r}")
        else:
            result = ("refused", "")
    except MemoryError:
        result = ("harm", f"MemoryError\n{traceback.format_exc()[-1500:]}")
    except BaseException as error:
        result = ("harm", f"{type(error).__name__}: {str(error)[:200]}\n{traceback.format_exc()[-1500:]}")
    finally:
        _guard["on"] = False
    return ("harm", _guard["harm"]) if _guard["harm"] else result


def run(parser: Parser, seconds: float, seed: int, most: int | None = None) -> Tally:
    """Inputs for so many seconds, or so many of them, from a seed on."""
    seeds = parser.seeds()
    return _judged(parser, lambda number: mutated(seeds, random.Random(f"{seed} {number}")), seeds, seconds, most)


def replay(parser: Parser, contents: list[bytes]) -> Tally:
    """Those inputs, as they are."""
    return _judged(parser, contents.__getitem__, parser.seeds(), SECONDS * len(contents), len(contents))


def _judged(parser: Parser, made: Inputs, seeds: list[bytes], seconds: float, most: int | None) -> Tally:
    with tempfile.TemporaryDirectory() as folder:
        for each in seeds:  # before any is changed: what the parser loads, it loads now
            verdict(parser, each, Path(folder))
        tally, began, number = Tally(), time.monotonic(), 0
        while time.monotonic() - began < seconds and (most is None or tally.inputs < most):
            number = _batch(parser, made, number, began + seconds, most, Path(folder), tally)
    return tally


def _batch(parser: Parser, made: Inputs, first: int, end: float, most: int | None, folder: Path, tally: Tally) -> int:
    """A process that judges inputs until one harms it; returns the number after its last."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _judge_all(parser, made, first, end, None if most is None else most - tally.inputs, folder, writer)
        os._exit(0)
    os.close(writer)
    number, buffer = first, b""
    while True:
        ready, _, _ = select.select([reader], [], [], 6 * SECONDS)
        piece = os.read(reader, 65536) if ready else b""
        if not ready or not piece:
            break
        buffer += piece
        while b"\0" in buffer:
            line, _, buffer = buffer.partition(b"\0")
            kind, text, used, peak = line.decode("utf-8", "replace").split("\x01")
            tally.inputs += 1
            tally.slowest, tally.largest = max(tally.slowest, float(used)), max(tally.largest, int(peak))
            if float(used) > SECONDS:
                kind, text = "harm", f"took {used} s"
            if kind == "harm":
                tally.harms.append((text, made(number)))
            else:
                setattr(tally, kind, getattr(tally, kind) + 1)
            number += 1
    os.close(reader)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ready or os.WIFSIGNALED(status):
        tally.inputs += 1
        why = f"never ended within {6 * SECONDS} s" if not ready else f"died of signal {os.WTERMSIG(status)}"
        tally.harms.append((why, made(number)))
        number += 1
    return number


def _judge_all(parser: Parser, made: Inputs, first: int, end: float, most: int | None, folder: Path, writer: int) -> None:
    warnings.simplefilter("ignore")
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    used_before = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used_before + MEMORY, used_before + MEMORY))
    sys.addaudithook(_watch)
    for number in range(first, first + min(_BATCH, most if most is not None else _BATCH)):
        began = time.process_time()  # of the processor: a busy machine is no harm
        kind, text = verdict(parser, made(number), folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        line = "\x01".join((kind, text.replace("\0", "").replace("\x01", ""), f"{time.process_time() - began:.3f}", str(peak)))
        os.write(writer, line.encode("utf-8", "replace") + b"\0")
        if time.monotonic() > end:
            return


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
