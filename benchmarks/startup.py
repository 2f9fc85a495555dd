"""Seconds from the start of a training's process to the dispatch of its first step: `python -m benchmarks.startup`.

Starts `train` on the demo and on VideoMAE-S with THUMOS-14's recipe (`configs/thumos_s.py`: 768 frames, 160 pixels,
batches of 2), both on videos of the demo and with weights that `convert` has written. Each is started once with an
empty compilation cache and some times with that cache; every process ends when its first step is dispatched. Nothing
else should run.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adatad_jax.console import make_console
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.demo.run import make_data
from adatad_jax.demo.scenes import KINDS
from adatad_jax.models.sizes import CHUNK_TUBELETS, SIZES, TUBELET, ViTConfig
from adatad_jax.weights.convert_file import convert_file
from benchmarks.first_step import MARK

CONFIGS = {"tiny": "configs/demo.py", "S": "configs/thumos_s.py"}
VIDEOS = 16, 4  # of training and of the test
WARM_STARTS = 3


class Start(NamedTuple):
    """Seconds of a start, from the process's beginning to the dispatch of its first step, one stage after the other.

    Attributes:
      imports: of Python and all libraries.
      state: inputs are checked, weights read, and what they lack is drawn.
      step: the training step is traced, and compiled or read.
      dispatch: the first batch is there, and the step is dispatched.
    """

    imports: float
    state: float
    step: float
    dispatch: float

    @property
    def total(self) -> float:
        """Returns the sum."""
        return sum(self)


class Starts(NamedTuple):
    """Starts of one training.

    Attributes:
      cold: with an empty compilation cache.
      warm: with the cache that the cold start has filled.
    """

    cold: Start
    warm: tuple[Start, ...]

    @property
    def median(self) -> float:
        """Returns the median of the warm starts, in seconds."""
        return statistics.median(start.total for start in self.warm)

    def stages(self) -> str:
        """Returns the medians of the stages of the warm starts, in words."""
        medians = [statistics.median(stage) for stage in zip(*self.warm, strict=True)]
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in zip(Start._fields, medians, strict=True))


def measure(size: str, folder: Path, starts: int = WARM_STARTS) -> Starts:
    """Measures the start of a training.

    Args:
      size: of `CONFIGS`.
      folder: to write data, weights and the cache into; several sizes may share it.
      starts: number of warm starts.

    Raises:
      subprocess.CalledProcessError: a training ended before its first step.
    """
    make_data(folder, 0, *VIDEOS, make_console(quiet=True))
    weights = folder / "weights" if size == "tiny" else folder / f"weights_{size}"
    if not weights.exists():
        write_tensors(folder / f"videomae_{size}.pth", random_state(SIZES[size]))
        convert_file(folder / f"videomae_{size}.pth", weights)
    compiled = tempfile.mkdtemp(prefix=f"compiled_{size}_", dir=folder)
    seconds = [_start(size, folder, weights, compiled) for _ in range(1 + starts)]
    return Starts(seconds[0], tuple(seconds[1:]))


def random_state(vit: ViTConfig) -> dict[str, np.ndarray]:
    """Returns all tensors of a VideoMAE classifier in mmaction layout, float32, of small random numbers."""
    rng, width, hidden = np.random.default_rng(0), vit.width, vit.mlp_hidden
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed": (1, CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, width),
        "backbone.patch_embed.projection.weight": (width, 3, TUBELET, vit.patch, vit.patch),
        "backbone.patch_embed.projection.bias": (width,),
        "backbone.fc_norm.weight": (width,),
        "backbone.fc_norm.bias": (width,),
        "cls_head.fc_cls.weight": (400, width),
        "cls_head.fc_cls.bias": (400,),
    }
    for number in range(vit.depth):
        of_block = {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.q_bias": (width,),
            "attn.v_bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.layers.0.0.weight": (hidden, width),
            "mlp.layers.0.0.bias": (hidden,),
            "mlp.layers.1.weight": (width, hidden),
            "mlp.layers.1.bias": (width,),
        }
        shapes |= {f"backbone.blocks.{number}.{name}": shape for name, shape in of_block.items()}
    return {name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()}


def _start(size: str, folder: Path, weights: Path, compiled: str) -> Start:
    """Starts a training in a process of its own, and returns its seconds to the first step."""
    data = folder / "data"
    fields = {
        "weights": weights,
        "data.videos": data / "videos",
        "data.annotations": data / "annotations.json",
        "data.classes": data / "classes.txt",
        "data.class_count": len(KINDS),
    }
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        arguments = ["--config", CONFIGS[size], "--workdir", workdir]
        arguments += [f"--config.{name}={value}" for name, value in fields.items()]
        started = time.time()
        ended = subprocess.run(
            [sys.executable, "-m", "benchmarks.first_step", *arguments],
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": compiled},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    times = [started, *map(float, ended.stdout.rpartition(MARK)[2].split())]
    return Start(*(after - before for before, after in itertools.pairwise(times)))


def main() -> None:
    """Prints the seconds of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CONFIGS, help="size to measure (default: all)")
    parser.add_argument("--starts", type=int, default=WARM_STARTS, help="warm starts of each size")
    parser.add_argument("--folder", type=Path, help="where to keep data and weights (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for size in [args.only] if args.only else CONFIGS:
            found = measure(size, args.folder or Path(scratch), args.starts)
            warm = ", ".join(f"{start.total:.1f}" for start in found.warm)
            print(f"{size}: {found.cold.total:.1f} s with an empty compilation cache; with a full one {warm} s")
            print(f"  of which {found.stages()}")


if __name__ == "__main__":
    main()
