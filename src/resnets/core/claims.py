"""Who works where: folders that one process alone makes, and locks that say who holds them.

A lock is a file with the host, the process and the time of its holder. Where the file system has `flock` the system itself frees it
when the holder dies, however it does; elsewhere the file is made exclusively, and one whose process on this host is gone is taken
over. What a dead process left is taken over with a line that says so.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from types import ModuleType

from .errors import JobError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "lock"
"""What a folder's lock is called."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What a file system without flock answers."""
_POLL = 0.2
"""Seconds between looks at a lock that is waited for."""


class InUse(JobError):
    """Another process holds the lock."""


@dataclass(frozen=True)
class Holder:
    """A process that holds, or held, a lock."""

    host: str
    pid: int
    since: str
    """Date and time by the holder's clock, for people; nothing is decided by it."""
    begun: str = ""
    """When the process began, as the system counts: it tells a process from a later one with the same number. Empty where unknown."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def here(cls) -> Holder:
        """This process, now."""
        pid = os.getpid()
        return cls(platform.node(), pid, time.strftime("%Y-%m-%d %H:%M:%S"), _begun(pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    def may_live(self) -> bool:
        """False only where the process was one of this host and is gone."""
        if self.host != platform.node():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # it is another user's, and lives
        now = _begun(self.pid)
        return not self.begun or not now or now == self.begun


def new_folder(parent: Path, name: str) -> Path:
    """Makes the first of PARENT/NAME-1, NAME-2, ... that is not there; no two processes are given the same one.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        try:
            (folder := parent / f"{name}-{number}").mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("numbers do not end")


@contextmanager
def hold(
    lock: Path,
    of: Path,
    report: Callable[[str], None] = lambda message: None,
    *,
    wait: bool = False,
    advice: str = "wait for it, or name another --output",
) -> Iterator[None]:
    """Holds the lock file `lock` for the time of the block, and takes it away at its end.

    Args:
        of: what the lock is of, for messages.
        report: is told where a lock is taken over that a dead process left.
        wait: wait for the holder instead of raising.
        advice: what to do about a holder, for the error.

    Raises:
        InUse: another process holds it; the message says which, where and since when.
        OSError: the file cannot be made.
    """
    take = _flocked if fcntl is not None else _made
    while True:
        try:
            descriptor, left = take(lock)
        except _NoLocks:
            take = _made
            continue
        except _Held as held:
            if not wait:
                who = held.holder or "another process"
                raise InUse(f"{of} is in use by {who}; {advice}{_by_hand(held, lock)}") from None
            time.sleep(_POLL)
            continue
        break
    pid = os.getpid()
    _open.add(descriptor)
    try:
        if left is not None:
            report(f"{of} was left locked by {left}, which is gone; taken over")
        yield
    finally:
        if os.getpid() == pid:  # and not in a process forked within the block
            _open.discard(descriptor)
            _release(lock, descriptor)


def hold_file(output: Path, report: Callable[[str], None] = lambda message: None) -> AbstractContextManager[None]:
    """Holds the lock of a file that is to be written, which is beside it; as `hold`."""
    return hold(output.with_name(f".{output.name}.{LOCK}"), output, report)


class _Held(Exception):
    def __init__(self, holder: Holder | None, by_file: bool = False) -> None:
        self.holder, self.by_file = holder, by_file


class _NoLocks(Exception):
    """The file system has no flock."""


_open: set[int] = set()
"""Descriptors of the locks that this process holds."""


def _forget_in_child() -> None:
    """A lock belongs to all processes that have its file open: one forked from the holder must not keep it when the holder dies."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


_Taken = tuple[int, Holder | None]
"""A lock's descriptor, and the dead process that had left it."""


def _flocked(lock: Path) -> _Taken:
    """Locks the file, making it where it is missing.

    Raises:
        _Held: another process has locked it.
        _NoLocks: it cannot be locked here.
    """
    assert fcntl is not None
    while True:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, descriptor):
                left = _read(lock)
                _write(descriptor, Holder.here())
                return descriptor, left
            os.close(descriptor)  # its holder took it away meanwhile: this is a lock that nobody will see
        except BlockingIOError:
            os.close(descriptor)
            raise _Held(_read(lock)) from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                if lock.exists() and lock.stat().st_size == 0:
                    lock.unlink(missing_ok=True)
                raise _NoLocks from None
            raise


def _made(lock: Path) -> _Taken:
    """Makes the lock file, where only its presence locks. One whose process is gone is replaced, by the one process that makes the file
    that says so.

    Raises:
        _Held: it is there, and its process may live.
    """
    while True:
        try:
            # Whole at once: it is written under another name, and a link to it is made exclusively.
            return _linked(lock), None
        except FileExistsError:
            pass
        holder = _read(lock)
        if holder is None and not lock.exists():
            continue
        if holder is None or holder.may_live():
            raise _Held(holder, by_file=True) from None
        ticket = lock.with_name(f".{lock.name}.{holder.token}.gone")
        try:
            os.close(os.open(ticket, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _Held(holder, by_file=True) from None
        try:
            if _read(lock) == holder:
                fresh, descriptor = _fresh(lock)
                os.replace(fresh, lock)
                return descriptor, holder
        finally:
            ticket.unlink(missing_ok=True)


def _linked(lock: Path) -> int:
    fresh, descriptor = _fresh(lock)
    try:
        try:
            os.link(fresh, lock)
        except FileExistsError:
            raise
        except OSError:  # no links here: made exclusively, and empty for a moment
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
            os.replace(fresh, lock)
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        fresh.unlink(missing_ok=True)
    return descriptor


def _fresh(lock: Path) -> tuple[Path, int]:
    """A file that says that this process holds the lock, under another name, and its descriptor."""
    fresh = lock.with_name(f".{lock.name}.{uuid.uuid4().hex}.part")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    _write(descriptor, Holder.here())
    return fresh, descriptor


def _release(lock: Path, descriptor: int) -> None:
    """Takes the file away while it is still held, so that nobody else's goes; then frees it."""
    try:
        if _is_at(lock, descriptor):
            lock.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_at(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(lock), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(lock: Path) -> Holder | None:
    try:
        return Holder(**json.loads(lock.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(descriptor: int, holder: Holder) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    try:
        os.write(descriptor, json.dumps(asdict(holder)).encode())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # on a full disk the lock holds all the same, without saying for whom


def _begun(pid: int) -> str:
    """When a process began, in the system's ticks since it started; empty where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _by_hand(held: _Held, lock: Path) -> str:
    return f" (if that process is gone, remove {lock})" if held.by_file else ""
