"""--processes N: a command that trains, carried out by several processes of this machine, which torchrun's own agent starts and watches.

On GPUs each process has one. On a CPU they share the cores, which is worth a try where one process leaves them waiting. For more
machines than this one there is torchrun itself.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from ..core.errors import UserError
from ..data.workers.batches import default_workers
from .options import messages


def carry_out(arguments: list[str], number: int) -> int:
    """Runs `resnets ARGUMENTS` in so many processes on this machine, each with its part of the cores, and gives back the exit status.

    Raises:
        ValueError: torchrun has started this process already.
    """
    if "RANK" in os.environ:
        raise UserError("torchrun has started processes already; leave --processes off, and give their number to torchrun")
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    agent: Any = torchrun  # it has no types
    threads = max(1, default_workers() // number)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # each process has said itself what went wrong
    messages().print(f"{number} processes, {os.environ['OMP_NUM_THREADS']} threads each", highlight=False)
    try:
        agent.run(agent.parse_args(["--standalone", "--nproc-per-node", str(number), "-m", "resnets", *arguments]))
    except ChildFailedError as failed:
        _, first = failed.get_first_failure()
        return first.exitcode if first.exitcode > 0 else 1
    except SignalException:  # each process has got the signal, too, and written its checkpoint
        return 1
    return 0
