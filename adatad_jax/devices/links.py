"""The links between the processes of a run: TCP connections of process 0 to all others, which carry small messages.

They are made before JAX starts, at the coordinator's address: JAX ends a process by abort() if it does not reach the
coordinator, or if another program has its port. They also tell what JAX learns late or not at all: that a process has
failed, and why, or that it is gone. The operating system closes the connections of a process that is killed at once.

A message is a line of JSON, and bytes. All processes exchange in the same order.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from adatad_jax.errors import Exit, Left, UserError

# Seconds in which a process must end by itself after another one has failed: process 0 may be writing a checkpoint.
UNWINDING, UNWINDING_FIRST = 5.0, 15.0
LEFT = "left "  # how the message of a process begins that was asked to leave
_POLL = 0.5  # seconds between looks at the clock


class End(NamedTuple):
    """Why a run of several processes ends before its time.

    Attributes:
      process: that failed or is gone.
      message: its error, in words.
      code: exit code for all.
    """

    process: int
    message: str
    code: Exit

    def error(self) -> UserError | Left:
        """Returns what ends this process: it leaves where the other one was asked to."""
        if self.code is Exit.CONTINUE:
            return Left(self.message.removeprefix(LEFT))
        error = UserError(str(self))
        error.exit_code = self.code
        return error

    def __str__(self) -> str:
        return f"process {self.process}: {self.message}"


class Links:
    """This process's connections: those of process 0 to all others, or the one of another process to process 0."""

    def __init__(
        self,
        index: int,
        count: int,
        connections: Mapping[int, Connection],
        names: Mapping[int, str],
        grace: float = 0.0,
    ) -> None:
        """Starts to listen, in a thread.

        Args:
          index: of this process.
          count: number of processes.
          connections: process -> connection, from `meeting`.
          names: process -> where it runs, for messages.
          grace: seconds in which a process must end after another one has left as asked; most leave at once.
        """
        self._index, self._count = index, count
        self._unwinding, self._grace = UNWINDING if index else UNWINDING_FIRST, grace
        self._connections, self._names = dict(connections), dict(names)
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        # All of these are changed under `_changed`.
        self._posted: dict[int, dict[int, tuple[str, bytes]]] = {}  # in process 0: number of exchange -> by process
        self._results: dict[int, list[bytes]] = {}
        self._number = 0
        self._ended: End | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._listen, name="links of processes", daemon=True)
        self._thread.start()

    def post(self, name: str, payload: bytes) -> Callable[..., list[bytes]]:
        """Gives this process's part of an exchange, and does not wait.

        Args:
          name: of the exchange, the same in all processes.
          payload: the part.

        Returns:
          A function that waits for the parts of all processes, in their order, for as many seconds as it is told
          (default: as long as it takes). It raises `UserError` or `Left` if the run ends before, because a process
          failed, is gone or was asked to leave, and `TimeoutError`.
        """
        with self._changed:
            number, self._number = self._number, self._number + 1
        if self._index == 0:
            self._take(0, number, name, payload)
        else:
            self._send(0, {"kind": "part", "number": number, "name": name}, payload)

        def result(within: float | None = None) -> list[bytes]:
            with self._changed:
                self._changed.wait_for(lambda: number in self._results or self._ended is not None, within)
                if number in self._results:
                    return self._results.pop(number)
                if self._ended is None:
                    raise TimeoutError
                raise self._ended.error()

        return result

    def ended(self, within: float) -> End | None:
        """Waits until the run ends, but at most some seconds, and returns why it did; None if it goes on."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended is not None, within)
            return self._ended

    def fail(self, message: str, code: Exit) -> None:
        """Ends the run as this process fails: all others end with its message, unless another one failed before.

        Process 0 returns when they have ended, because JAX in the others calls abort() once process 0 is gone.
        """
        self._end(End(self._index, message, code))
        if self._index == 0:
            with self._changed:
                self._changed.wait_for(lambda: not self._connections, UNWINDING_FIRST)
        self._stop()

    def close(self) -> None:
        """Closes the links at the end of a run, when all processes have come to it."""
        self.post("the end of the run", b"")()
        with self._changed:
            self._closing = True
        self._stop()

    def _stop(self) -> None:
        with self._changed:
            self._closing = True
        self._thread.join(2 * _POLL)

    def _end(self, end: End) -> None:
        """Notes that the run ends and why, and process 0 tells the others. The first reason counts."""
        with self._changed:
            if self._ended is not None or self._closing:
                return
            self._ended = end
            self._changed.notify_all()
        for process in list(self._connections):
            if process != end.process:
                self._send(process, {"kind": "end", **end._asdict()})

    def _listen(self) -> None:
        """Takes messages until the links are closed. Ends the process if the run has ended and it does not itself."""
        since: float | None = None
        while True:
            for one in wait(list(self._connections.values()), _POLL):
                process = next(number for number, connection in self._connections.items() if connection is one)
                self._receive(process)
            with self._changed:
                if self._closing:
                    break
                if self._ended is None:
                    continue
            since = since or time.monotonic()
            # Where process 0 is gone, JAX calls abort() any moment. A process that failed itself is on its way out.
            lost = self._index > 0 and not self._connections
            left = self._unwinding + (self._grace if self._ended.code is Exit.CONTINUE else 0)
            if self._ended.process != self._index and (lost or time.monotonic() > since + left):
                _leave(self._ended)

    def _receive(self, process: int) -> None:
        """Takes one message of a process, or the end of its connection."""
        connection = self._connections[process]
        try:
            line, _, payload = connection.recv_bytes().partition(b"\n")
        except (EOFError, OSError):
            with self._changed:
                del self._connections[process]
                self._changed.notify_all()
            connection.close()
            gone = f"gone ({self._names[process]}): killed, or its machine is lost. Nothing that was saved is lost: "
            self._end(End(process, f"{gone}the same commands continue", Exit.MACHINE))
            return
        head: dict[str, Any] = json.loads(line)
        match head["kind"]:
            case "part":
                self._take(process, head["number"], head["name"], payload)
            case "parts":
                with self._changed:
                    self._results[head["number"]] = _cut(payload, head["sizes"])
                    self._changed.notify_all()
            case "end":
                self._end(End(head["process"], head["message"], Exit(head["code"])))

    def _take(self, process: int, number: int, name: str, payload: bytes) -> None:
        """Takes, as process 0, a part of an exchange, and sends all of them out when the last one has come."""
        with self._changed:
            posted = self._posted.setdefault(number, {})
            posted[process] = name, payload
            if len(posted) < self._count:
                return
            del self._posted[number]
        names = {name for name, _ in posted.values()}
        if len(names) > 1:
            self._end(
                End(0, f"a mistake in the program: processes are at {', '.join(sorted(names))} at once", Exit.PARTLY)
            )
            return
        parts = [posted[one][1] for one in range(self._count)]
        for other in list(self._connections):
            self._send(other, {"kind": "parts", "number": number, "sizes": list(map(len, parts))}, b"".join(parts))
        with self._changed:
            self._results[number] = parts
            self._changed.notify_all()

    def _send(self, process: int, head: dict[str, Any], payload: bytes = b"") -> None:
        """Sends a message; to a process that is gone, nothing: the listener finds out."""
        connection = self._connections.get(process)
        try:
            with self._sending:
                if connection is not None:
                    connection.send_bytes(json.dumps(head).encode() + b"\n" + payload)
        except OSError:
            pass


def configure(one: socket.socket) -> Connection:
    """Returns a socket as a connection that notices within about 30 s that the other machine is lost."""
    one.settimeout(None)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, name):  # not on every system
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(one.detach())


def _cut(payload: bytes, sizes: list[int]) -> list[bytes]:
    """Cuts bytes into consecutive parts of these sizes."""
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [payload[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _leave(end: End) -> None:
    """Ends the process, whatever its main thread waits for."""
    sys.stdout.flush()
    os.write(2, f"error: {end}\n".encode(errors="backslashreplace"))
    os._exit(end.code)
