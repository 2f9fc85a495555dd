"""What the processes of a run do together: start JAX, tell each other things, agree, and end."""

import atexit
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax

from adatad_jax.devices.launch import Launch
from adatad_jax.devices.links import LEFT, Links
from adatad_jax.devices.meeting import meet
from adatad_jax.errors import Exit, Left, UserError, listed, one_line

# Seconds in which the links tell why a device's runtime failed: mostly, because another process has ended.
_CAUSE = 5.0
# JAX ends a process by abort() where it finds another one gone. The links find it sooner, except where one only hangs.
_HEARTBEAT, _SHUTDOWN = 100, 30


class Processes:
    """The processes of a run, as one of them sees them. A single process has nobody to ask, and never waits.

    Attributes:
      index: of this process, from 0.
      count: number of processes.
    """

    def __init__(self, index: int = 0, count: int = 1, links: Links | None = None) -> None:
        """Describes a single process, or one of several that have links."""
        self.index, self.count, self._links = index, count, links

    def post(self, name: str, value: Any) -> Callable[..., list[Any]]:
        """Tells the others a value, and does not wait.

        All processes post in the same order.

        Args:
          name: of what is told, the same in all processes.
          value: what JSON can hold.

        Returns:
          A function that waits for the values of all processes, in their order; see `Links.post`.
        """
        if self._links is None:
            return lambda within=None: [value]
        result = self._links.post(name, json.dumps(value).encode())
        return lambda within=None: [json.loads(part) for part in result(within)]

    def gather(self, name: str, payload: bytes) -> list[bytes]:
        """Returns the bytes that all processes give, in their order; like `post`, and waits."""
        return [payload] if self._links is None else self._links.post(name, payload)()

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Compares what all processes must have in common.

        Args:
          facts: name -> value, which JSON can hold.

        Raises:
          UserError: some differ; the message, the same in all processes, names each process, fact and value.
        """
        first, *others = self.post("agreement", facts)()
        different = [
            f"{name}: process {process} has {other.get(name)!r}, process 0 {first.get(name)!r}"
            for process, other in enumerate(others, 1)
            for name in sorted(first.keys() | other.keys())
            if other.get(name) != first.get(name)
        ]
        if different:
            raise UserError(f"the processes of a run must be given the same; they differ in:{listed(different)}")


ALONE = Processes()


def is_first() -> bool:
    """Tells whether this process is the only or the first one of a run, which alone writes and reports."""
    return jax.process_index() == 0


@contextmanager
def joined(launch: Launch | None, timeout: float, grace: float) -> Iterator[Processes]:
    """Starts JAX with all processes of a run, which end together.

    An exception in the block ends the others with its message and exit code. Here it is replaced by that of another
    process, if that one failed before. After it, the process exits without JAX's shutdown, which would wait for others.

    Args:
      launch: of this process; None: it is alone.
      timeout: seconds to wait for the others at the start.
      grace: seconds in which all leave, where they are asked to.

    Raises:
      UserError: the others do not come; or one has failed or is gone.
    """
    if launch is None:
        yield ALONE
        return
    links = meet(launch, timeout, grace)
    try:
        jax.distributed.initialize(
            launch.coordinator,
            launch.count,
            launch.index,
            launch.devices,
            cluster_detection_method="deactivate",
            initialization_timeout=max(1, round(timeout)),
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_SHUTDOWN,
        )
        yield Processes(launch.index, launch.count, links)
        links.close()
        jax.distributed.shutdown()
    except BaseException as error:
        of_runtime = _is_of_runtime(error)
        cause = links.ended(_CAUSE if of_runtime else 0)
        code = _code(error) if cause is None else cause.code
        links.fail(_message(error), code)
        atexit.register(_leave, code)
        backstop = threading.Timer(_CAUSE, os._exit, [code])  # some thread may wait for a process that is gone
        backstop.daemon = True
        backstop.start()
        if cause is None or not isinstance(error, Exception) or (isinstance(error, UserError) and not of_runtime):
            raise
        end = cause.error()
        if isinstance(end, Left):
            print(f"{cause}; nothing is lost: the same command continues", file=sys.stderr)
        raise end from error


def _is_of_runtime(error: BaseException) -> bool:
    """Tells whether an exception may follow from the end of another process, on which a collective waited."""
    chain = (error, error.__cause__)
    return any(isinstance(one, jax.errors.JaxRuntimeError) or "Gloo" in str(one) for one in chain)


def _message(error: BaseException) -> str:
    """Returns what the others print of an exception."""
    match error:
        case UserError():
            return str(error)
        case Left():
            return f"{LEFT}{error}"
        case KeyboardInterrupt():
            return "interrupted"
        case Exception():
            return f"{type(error).__name__}: {one_line(error)}"
    return type(error).__name__


def _code(error: BaseException) -> Exit:
    """Returns the exit code of a command that ends with an exception."""
    match error:
        case UserError():
            return error.exit_code
        case Left():
            return Exit.CONTINUE
        case KeyboardInterrupt():
            return Exit.INTERRUPTED
    return Exit.PARTLY


def _leave(code: Exit) -> None:
    """Ends the process at its exit, before JAX waits for processes that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
