"""The part `startup`: seconds from a training's start to the dispatch of its first step."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import startup
from benchmarks.run.context import Context
from benchmarks.run.rows import START, Row, spread

WARM = "warm compilation cache"
NAMES = {"tiny": "demo", "S": "S, 768 frames"}
SECONDS = {"tiny": 50.0, "S": 80.0}  # about


def expected(context: Context) -> float:
    """Returns about how many seconds the part takes."""
    return SECONDS["tiny"] + (0 if context.quick else SECONDS["S"])


def measure(context: Context) -> Iterator[Row]:
    """Starts trainings with an empty compilation cache and with the one that was filled then."""
    with tempfile.TemporaryDirectory() as folder:
        for size in ("tiny",) if context.quick else startup.CONFIGS:
            config, warm_starts = startup.CONFIGS[size], 1 if context.quick else startup.WARM_STARTS
            with context.advance.piece(f"startup: {NAMES[size]}", SECONDS[size]):
                quiet = context.idle.wait()
                found = startup.measure(size, Path(folder), warm_starts)
            remark = "" if quiet else "beside other work"
            row = Row(START, size, None, None, None, f"{config}, empty compilation cache", "s", found.cold.total)
            yield row._replace(remark=remark)
            said = ", ".join(filter(None, (remark, found.stages())))
            warm = row._replace(setting=f"{config}, {WARM}", ours=found.median, remark=said)
            yield warm._replace(spread=spread([start.total for start in found.warm]))
