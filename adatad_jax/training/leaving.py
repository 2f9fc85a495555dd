"""Leaving a training when the system asks for it: signals, and the time that they leave.

SIGTERM, SIGINT and SIGHUP ask a run to leave. It finishes the running step, saves its state and raises `Left`, within
`train.grace` seconds. Before its first step, and while it evaluates or waits for a batch, it leaves at once. A second
signal ends the process.

Python runs the handler of a signal only between two instructions of the main thread, which may compile in C++ for
minutes. So a thread, which Python's wake-up descriptor tells of every signal, keeps the time.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import NoReturn

import orbax.checkpoint as ocp
from rich.console import Console

from adatad_jax.errors import Exit, Left

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
FAREWELL = 1.0  # seconds
START_GRACE = 2.0  # seconds in which a run before its first step must end by itself
REMINDER = 1.0  # seconds after which a run that a signal should have interrupted is interrupted again
ONE_SIGNAL = 0.5  # seconds within which a repeated signal is the same one: a parent may pass on what its group got


class Leaving:
    """The wish that a run leave, and where the run can.

    Attributes:
      farewell: called in another thread where the process must be ended, whatever it does; it has `FAREWELL` seconds.
    """

    def __init__(self) -> None:
        """Starts as a run does: nothing is lost if it leaves at once."""
        self._asked: signal.Signals | None = None  # set by the watching thread too, at any time
        self._where: str | None = "before its first step"  # None: a signal must not interrupt what is going on
        self.farewell: Callable[[], None] | None = None
        self._started = self._raised = False

    @property
    def asked(self) -> signal.Signals | None:
        """Returns the signal that asked this process to leave; None as long as none did."""
        return self._asked

    @property
    def code(self) -> Exit:
        """Returns the exit code of a process that leaves now: before the first step, Ctrl-C is what it always is."""
        return Exit.INTERRUPTED if self._asked is signal.SIGINT and not self._started else Exit.CONTINUE

    @property
    def started(self) -> bool:
        """Tells whether a step has been taken."""
        return self._started

    def start(self) -> None:
        """Notes that the first step has been taken: from now on there is something to save."""
        self._started, self._where = True, None

    def ask(self, number: int) -> None:
        """Notes a signal."""
        self._asked = self._asked or signal.Signals(number)

    @contextmanager
    def at_once(self, where: str) -> Iterator[None]:
        """Lets a signal interrupt the block, which a restart must be able to do again.

        Args:
          where: what the run is at, in words, such as "in the evaluation after epoch 3".

        Raises:
          Left: the run is asked to leave, or was before.
          KeyboardInterrupt: Ctrl-C, before the first step.
        """
        before, self._where = self._where, self._where or where
        try:
            if self._asked is not None:
                self._raised = False  # what was raised before was lost, as in a finalizer: Python drops it there
                self._leave()
            yield
        finally:
            self._where = before

    @contextmanager
    def after_step(self, step: int) -> Iterator[None]:
        """Lets the run leave after `step` steps, or while the block waits for the next batch.

        All processes must enter it after every step. A notice of preemption that JAX gets counts like a signal; all
        processes see it after the same step.

        Raises:
          Left, KeyboardInterrupt: as `at_once`.
        """
        if ocp.multihost.reached_preemption(step):
            raise Left(f"after step {step}")
        with self.at_once(f"after step {step}"):
            yield

    def remind(self) -> bool:
        """Interrupts again what a signal was to interrupt, and tells whether it did so.

        Python drops an exception that a handler raises inside a callback of the garbage collector or a finaliser.
        """
        if not self._raised or not self._started or self._where is None:
            return False
        self._raised = False
        assert self._asked is not None
        signal.pthread_kill(threading.main_thread().ident or 0, self._asked)
        return True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal in the main thread."""
        self.ask(number)
        if self._where is not None:
            self._leave()

    def _leave(self) -> None:
        if self._raised:  # the run is on its way out, and must not be interrupted there
            return
        self._raised = True
        if self.code is Exit.INTERRUPTED:
            raise KeyboardInterrupt
        raise Left(self._where or "")


@contextmanager
def leaves_when_asked(grace: float, console: Console) -> Iterator[Leaving]:
    """Listens to the signals that ask a run to leave, until the block ends; then they mean what they did before.

    Signals that the process ignores, as under `nohup`, stay ignored. Outside the main thread, where Python allows no
    handlers, none is listened to.

    Args:
      grace: seconds from the first signal in which the block must end. Else the process ends, with the exit code.
      console: where to report that the run has left.

    Raises:
      Left: from inside the block, after it has been reported.
    """
    leaving = Leaving()
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    stack.enter_context(_handled(number, leaving))
            stack.enter_context(_watched(leaving, grace))
        try:
            yield leaving
        except Left as left:
            why = leaving.asked.name if leaving.asked else "another process, or a notice of preemption,"
            console.print(f"left {left.where}, as {why} asked; nothing is lost: the same command continues")
            raise


@contextmanager
def _handled(number: signal.Signals, leaving: Leaving) -> Iterator[None]:
    """Handles a signal until the block ends."""
    before = signal.signal(number, leaving.handle)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)  # None: a handler of C++


@contextmanager
def _watched(leaving: Leaving, grace: float) -> Iterator[None]:
    """Keeps the time in a thread until the block ends."""
    ours, pythons = socket.socketpair()
    pythons.setblocking(False)
    before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(ours, leaving, grace), name="watches signals", daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        pythons.close()  # which ends the thread
        watch.join()


def _watch(signals: socket.socket, leaving: Leaving, grace: float) -> None:
    """Ends the process when its time is over, or at a second signal; returns when the other end is closed."""
    first, left, reminders = 0.0, None, 0
    with signals, selectors.DefaultSelector() as selector:
        selector.register(signals, selectors.EVENT_READ)
        while True:
            if not selector.select(None if left is None else min(REMINDER, max(0.0, first + left - time.monotonic()))):
                if left is not None and time.monotonic() >= first + left:
                    _end(leaving, f"not done within {left:g} s" if leaving.started else "")
                reminders += leaving.remind()
                continue
            numbers = signals.recv(4096)
            if not numbers:
                return
            for number in set(numbers) & set(SIGNALS):
                if reminders and number == leaving.asked:
                    reminders -= 1  # not a signal: Python tells of its own interruptions in the same way
                elif left is None:
                    first = time.monotonic()
                    left = grace if leaving.started else min(grace, START_GRACE)
                    leaving.ask(number)
                elif time.monotonic() > first + ONE_SIGNAL:
                    _end(leaving, f"a second signal, {signal.Signals(number).name}")


def _end(leaving: Leaving, why: str) -> NoReturn:
    """Ends the process, whatever its threads are doing."""
    if leaving.code is Exit.INTERRUPTED:
        text = "interrupted"
    elif not leaving.started:
        text = "left before its first step: nothing is lost, and the same command continues"
    else:
        text = f"left at once ({why}): the checkpoint before is whole, and the same command continues there"
    try:
        os.write(2, f"{text}\n".encode())
        if (farewell := leaving.farewell) is not None:
            last = threading.Thread(target=_undisturbed, args=(farewell,), daemon=True)
            last.start()
            last.join(FAREWELL)
    finally:
        os._exit(leaving.code)


def _undisturbed(act: Callable[[], None]) -> None:
    """Does what may fail: nobody is left to hear of it."""
    with suppress(Exception):
        act()
