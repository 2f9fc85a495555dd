"""Time limits for reading videos: a decoder can hang in C code, where no Python exception reaches it.

`within` runs a read in a thread, which cannot be stopped, only abandoned; training uses it. `map_in_processes` runs
reads in processes, which can be killed; work on whole data sets uses it. This module imports nothing heavy, because
every worker process imports this module.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  see _abandon_all
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, TypeVar

from adatad_jax.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Most abandoned threads that may hang at a time; each keeps the memory of its decoder.
MOST_STUCK = 16
# Seconds in which a worker process must import what it runs.
START_LIMIT = 120.0
# Seconds past the limit after which a worker ends itself. Its parent kills it sooner, unless the parent is gone.
GRACE = 10.0

_ABANDONED = "reading was abandoned, as the program ends"

_lock = Lock()
_ending = Event()
_waiting: set[SimpleQueue[tuple[Any, BaseException | None]]] = set()
_stuck: dict[Thread, str] = {}


def within(seconds: float, what: str, function: Callable[[], Result]) -> Result:
    """Runs `function` in a thread of its own, and abandons the thread if the call takes longer than the limit.

    The limit works for calls that release the interpreter's lock, as all calls of PyAV do. An abandoned thread does not
    keep the program from ending. If its call returns after all, the result is dropped. Ctrl-C ends the wait.

    Args:
      seconds: the limit.
      what: name of the file that is read, for the message.
      function: takes no arguments. Any exception that it raises is raised here.

    Returns:
      The result of `function`.

    Raises:
      UserError: the limit has passed, 16 earlier calls still hang, or the program is ending.
    """
    with _lock:
        for thread in [thread for thread in _stuck if not thread.is_alive()]:
            del _stuck[thread]
        if len(_stuck) >= MOST_STUCK:
            raise UserError(
                f"{what}: not read, as {len(_stuck)} earlier reads still hang, the first of "
                f"{next(iter(_stuck.values()))}; check that the disk or network that holds the videos answers"
            )
    outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    result: Result

    def call() -> None:
        try:
            result = function()
        except BaseException as error:  # to be raised in the caller's thread
            outcome.put((None, error))
        else:
            outcome.put((result, None))

    thread = Thread(target=call, name=f"reads {what}", daemon=True)
    _waiting.add(outcome)
    try:
        if _ending.is_set():
            raise UserError(_ABANDONED)
        thread.start()
        result, error = outcome.get(timeout=seconds)
    except Empty:
        with _lock:
            _stuck[thread] = what
        raise UserError(_too_long(what, seconds)) from None
    finally:
        _waiting.discard(outcome)
    if error is None:
        return result
    try:
        raise error
    finally:
        del error  # a stack frame that holds its own exception would keep decoded video frames alive


def pause(seconds: float) -> bool:
    """Waits, and returns whether the time has passed; returns False, at once, when the program is ending."""
    return not _ending.wait(seconds)


def _abandon_all() -> None:
    """Ends every wait in `within`, in all threads, and makes later calls of `within` fail at once."""
    _ending.set()
    for outcome in list(_waiting):
        outcome.put((None, UserError(_ABANDONED)))


# A program that ends joins the threads of its executors, Grain's among them. These threads would wait for one sample
# after another up to the limit. The hooks of `atexit` would run after that join; this hook, which executors use
# themselves, runs before it. Such hooks run last in, first out, so the executors' module must be imported first (see
# above).
threading._register_atexit(_abandon_all)  # type: ignore[attr-defined]


@dataclass
class _Worker:
    """A worker process.

    Attributes:
      process: the process.
      deadline: the time, as of `time.monotonic`, at which it is killed.
      items: the one item that it reads; empty while it starts.
    """

    process: subprocess.Popen[bytes]
    deadline: float
    items: list[Any]


def map_in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    limit: float,
    name: Callable[[Item], object] = str,
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yields `(item, function(item))` in order of completion; each call runs in a process that is killed at the limit.

    The processes are fresh interpreters. They do not import the program's main module, and import jax only if the
    module of `function` does. They end with the iterator, which must be exhausted or closed. Ctrl-C is the caller's.

    Args:
      function: a function that can be imported by name, so not from a script that runs as `__main__`, and that keeps
        nothing between calls.
      items: arguments of `function`, one per call. Items and results are pickled.
      workers: number of processes.
      limit: seconds for one item.
      name: returns what messages call an item.

    Yields:
      Each item with its result. In place of a result: the `UserError` that `function` raised, or one that says that
      the limit has passed or that the process died (its decoder crashed, or memory ran out).

    Raises:
      UserError: a worker process ended as it started, or did not start in time.
      Exception: any other exception that `function` raised, with the worker's traceback as a note.
      ValueError: `workers` is less than 1, or the processes cannot import `function`.
    """
    if workers < 1:
        raise ValueError(f"expected at least one worker, got {workers}")
    work = _pickled(function)
    waiting = deque(items)
    crew: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(workers, len(waiting))):
            _hire(crew, work, limit)
        while crew:
            wait(list(crew), max(0.0, min(worker.deadline for worker in crew.values()) - time.monotonic()))
            for connection, worker in list(crew.items()):
                if connection.poll():
                    outcome, lives = _answer(connection, worker, name)
                elif worker.deadline < time.monotonic():
                    outcome, lives = _late(worker, limit, name), False
                else:
                    continue
                done = worker.items
                if not (waiting and lives):
                    _dismiss(crew, connection)
                    if waiting:
                        _hire(crew, work, limit)
                else:
                    _hand_out(connection, worker, waiting.popleft(), limit)
                for item in done:
                    yield item, outcome
    finally:
        for worker in crew.values():
            worker.process.kill()
        for connection in list(crew):
            _dismiss(crew, connection)


def _pickled(function: Callable[..., Any]) -> bytes:
    """Returns a function as worker processes import it; raises `ValueError` if they cannot."""
    work = pickle.dumps(function)
    if b"__main__" in work:
        raise ValueError(f"{function} is defined in the main module, which worker processes do not import; move it")
    return work


def _hand_out(connection: Connection, worker: _Worker, item: object, limit: float) -> None:
    """Gives a worker its next item."""
    worker.items, worker.deadline = [item], time.monotonic() + limit
    with suppress(OSError):  # if it has died since, its end of the pipe says so the next time around
        connection.send(item)


def _too_long(what: object, seconds: float) -> str:
    """Returns the message about a read that took too long."""
    return (
        f"{what}: not read within {seconds:g} s: its decoder hangs, or the disk is too slow; convert the file or take "
        "it out, or raise --config.data.time_limit"
    )


def _hire(crew: dict[Connection, _Worker], work: bytes, limit: float) -> None:
    """Starts a worker and adds it to `crew`; the worker's first message says that it is ready."""
    ours, theirs = Pipe()
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from adatad_jax.video import limits; limits._work(int(sys.argv[2]))"
    )
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(sys.path), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            process_group=0,  # so that Ctrl-C reaches only the parent
        )
    crew[ours] = _Worker(process, time.monotonic() + START_LIMIT, [])
    ours.send((work, limit + GRACE))


def _answer(connection: Connection, worker: _Worker, name: Callable[[Any], object]) -> tuple[Any, bool]:
    """Returns what a worker has sent, or a `UserError` if it has died instead, and whether the worker is alive."""
    try:
        result, error, where = connection.recv()
    except (EOFError, OSError):
        worker.process.kill()
        code = worker.process.wait()
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if not worker.items:
            raise UserError(f"a worker process ended as it started ({reason}); see its messages above") from None
        return UserError(
            f"{name(worker.items[0])}: the process that read it died ({reason}): its decoder crashed, or memory ran "
            "out; convert the file or take it out, or use fewer workers"
        ), False
    if error is None or isinstance(error, UserError):
        return (result if error is None else error), True
    error.add_note(where)
    raise error


def _late(worker: _Worker, limit: float, name: Callable[[Any], object]) -> UserError:
    """Returns the error of a worker past its deadline; raises `UserError` for one that has not even started."""
    if not worker.items:
        raise UserError(f"a worker process did not start within {START_LIMIT:g} s; use fewer workers")
    return UserError(_too_long(name(worker.items[0]), limit))


def _dismiss(crew: dict[Connection, _Worker], connection: Connection) -> None:
    """Kills a worker and removes it from `crew`."""
    process = crew.pop(connection).process
    connection.close()
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # a process that waits for a dead disk cannot even be killed
        process.wait(timeout=5)


def _work(descriptor: int) -> None:
    """Runs a worker process: answers each item with (result, exception, traceback) until nobody listens."""
    connection = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), connection:
        work, limit = connection.recv()
        function: Callable[[Any], Any]
        try:
            function = pickle.loads(work)
            answer = pickle.dumps((None, None, ""))
        except Exception as error:
            answer = _failure(error)
        while True:
            connection.send_bytes(answer)
            item = connection.recv_bytes()
            signal.setitimer(signal.ITIMER_REAL, limit)  # SIGALRM kills this process, even inside C code
            try:
                answer = pickle.dumps((function(pickle.loads(item)), None, ""))
            except Exception as error:
                answer = _failure(error)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _failure(error: Exception) -> bytes:
    """Returns a worker's answer about an exception, with its traceback."""
    where = traceback.format_exc()
    try:
        answer = pickle.dumps((None, error, where))
        pickle.loads(answer)
    except Exception:  # not every exception can be pickled; this one says the same
        answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), where))
    return answer
