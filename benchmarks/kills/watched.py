"""The command that trains, with a thread that notes where it is.

    python -m benchmarks.kills.watched NOTES COMMAND ARGUMENT...

The notes are a file of fixed size, which another process reads at any time: the phase of the main thread, as told by
the modules on its stack, and how many steps this process has started.
"""

import mmap
import runpy
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import jax

from adatad_jax.training import step as steps

NOTES = struct.Struct("16sI")  # phase, number of steps
STARTING, SETUP, STEPS, SAVE, EVALUATION, ENDING = "starting", "setup", "steps", "save", "evaluation", "ending"
PHASES = (STARTING, SETUP, STEPS, SAVE, EVALUATION, ENDING)
# Where one of these is on the stack, the process is in its phase; the first that is found counts.
MODULES = {"training/evaluating.py": EVALUATION, "training/saving.py": SAVE, "training/loop.py": STEPS}
TRAIN = "pipelines/training.py"
PAUSE = 0.003  # seconds between two looks


class Notes:
    """Writes the notes of this process."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), NOTES.size)
        self._count, self._phase, self._was_training = 0, STARTING, False

    def count(self, mapped: steps.Step) -> steps.Step:
        """Makes a mapped step count its calls."""

        def counted(state: Any, batch: Any) -> tuple[Any, dict[str, jax.Array]]:
            found = mapped(state, batch)
            self._count += 1
            return found

        counted.lower = mapped.lower  # type: ignore[attr-defined]  # compiled ahead of the first call
        return counted

    def keep(self, thread: int) -> None:
        """Notes the phase of a thread, again and again."""
        while True:
            files = _files(sys._current_frames().get(thread))
            if __file__ in files:  # else the thread has left some of these frames meanwhile
                self._phase = self._of(files)
            self._memory[:] = NOTES.pack(self._phase.encode(), self._count)
            time.sleep(PAUSE)

    def _of(self, files: set[str]) -> str:
        """Returns the phase of a thread that has functions of these files on its stack."""
        for module, phase in MODULES.items():
            if any(file.endswith(module) for file in files):
                return SETUP if phase == STEPS and not self._count else phase
        if any(file.endswith(TRAIN) for file in files):
            self._was_training = True
            return ENDING if self._count else SETUP
        return ENDING if self._was_training else STARTING


def _files(frame: FrameType | None) -> set[str]:
    """Returns the files of the functions on a stack; a module that is being imported is none of them."""
    files = set()
    while frame is not None:
        if frame.f_code.co_name != "<module>":
            files.add(frame.f_code.co_filename)
        frame = frame.f_back
    return files


def main(arguments: Sequence[str]) -> None:
    """Runs a command that trains.

    Args:
      arguments: the file for the notes, the command (train, pretrain or finetune), and its arguments.
    """
    path, command, *rest = arguments
    notes = Notes(Path(path))
    map_step = steps.map_step
    steps.map_step = lambda *args, **named: notes.count(map_step(*args, **named))
    threading.Thread(target=notes.keep, args=(threading.get_ident(),), daemon=True).start()
    sys.argv = [f"adatad {command}", *rest]
    runpy.run_module(f"adatad_jax.{command}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
