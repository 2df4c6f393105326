"""Processes that are killed at a chosen moment: as they enter one of the calls by which files are made, replaced and taken away."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

CALLS = ("replace", "fsync", "unlink", "link", "mkdir")
"""Functions of `os` between which nothing on the disk changes its name."""


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Does the work in a forked process that SIGKILL ends as it enters the `number`-th of the calls, from 1; False where the work came to
    its end before, as it should.

    Raises:
        RuntimeError: the work ended with an error.
    """
    child = os.fork()
    if child == 0:
        status = 3
        try:
            entered = 0

            def counted(really: Callable[..., Any]) -> Callable[..., Any]:
                def call(*arguments: Any, **options: Any) -> Any:
                    nonlocal entered
                    entered += 1
                    if entered == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return really(*arguments, **options)

                return call

            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(
            f"the work ended with status {os.waitstatus_to_exitcode(status)} instead of being killed at call {number}"
        )
    return False


def moments(work: Callable[[], object], prepare: Callable[[], object], check: Callable[[int], object], every: int = 1) -> int:
    """Kills the work at each `every`-th moment of its life, each time from what `prepare` makes, and calls `check` with the moment's
    number after it; gives how many kills there were."""
    for kills, number in enumerate(range(1, 10_000, every)):
        prepare()
        if not killed_at(number, work):
            return kills
        check(number)
    raise AssertionError("the work does not end")
