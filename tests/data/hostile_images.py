"""What processes of the doctor's are given to suffer from. They import this module, which is small for that reason."""

from __future__ import annotations

import os
import signal
import time

from resnets.data.image_source import ImageFiles

CRASHES, HANGS = 3, 20
"""Images by number."""


class HostileImages(ImageFiles):
    """Two of its images do to their process what a hostile file may do through a decoder."""

    def read(self, index: int) -> bytes:
        if index == CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if index == HANGS:
            time.sleep(600)
        return super().read(index)


def square_but_7(factor: int, job: int) -> int:
    """factor * job², except of 7."""
    if job == 7:
        raise MemoryError("of 7")
    return factor * job * job
