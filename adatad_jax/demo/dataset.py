"""The generator of the demo's data set: H.264 videos, `annotations.json` in THUMOS-14 form and `classes.txt`."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from adatad_jax.console import make_console, progress_bar
from adatad_jax.demo.encode import write_video
from adatad_jax.demo.scenes import KINDS, plan_scene, render
from adatad_jax.errors import UserError

SIZES = ((96, 72), (80, 80), (128, 72), (72, 96), (72, 128))
"""(width, height) in pixels."""
FRAME_RATES = (24, 25, 30)
SUBSETS = ("training", "validation")
"""THUMOS-14's names; the second is the test subset."""


@dataclass(frozen=True)
class _Job:
    """A video to write: its file, subset, seed, and range of lengths in seconds."""

    path: Path
    subset: str
    seed: tuple[int, int, int]
    seconds: tuple[float, float]


def _write_video(job: _Job) -> dict[str, Any]:
    """Renders and encodes one video; returns its entry of the annotation file."""
    rng = np.random.default_rng(job.seed)
    width, height = SIZES[rng.integers(len(SIZES))]
    fps = FRAME_RATES[rng.integers(len(FRAME_RATES))]
    frames = round(rng.uniform(*job.seconds) * fps)
    scene = plan_scene(rng, width=width, height=height, frames=frames, fps=fps)
    write_video(job.path, render(scene), width=width, height=height, fps=fps)
    return {
        "subset": job.subset,
        "duration": round(frames / fps, 4),
        "frame": frames,
        "annotations": [
            {"segment": [round(segment.start / fps, 3), round(segment.end / fps, 3)], "label": segment.label}
            for segment in scene.segments
        ],
    }


def generate(
    folder: Path,
    *,
    seed: int,
    train_videos: int,
    test_videos: int,
    seconds: tuple[float, float] = (4.0, 18.0),
    workers: int | None = None,
) -> None:
    """Writes `videos/train_000.mp4` ..., `videos/test_000.mp4` ..., `classes.txt` and `annotations.json`.

    The same arguments give the same scenes and the same annotation bytes, whatever the number of workers.
    `annotations.json` is written last: a folder that has it is complete.

    Args:
      folder: folder to write into.
      seed: seed of all scenes.
      train_videos: number of training videos.
      test_videos: number of test videos.
      seconds: range of the video lengths, which are drawn uniformly.
      workers: number of processes; None: one per core.

    Raises:
      UserError: a subset has no video, or the range is reversed or starts below 3 seconds.
    """
    if min(train_videos, test_videos) < 1 or not 3 <= seconds[0] <= seconds[1]:
        raise UserError(
            f"demo data: train_videos is {train_videos}, test_videos {test_videos}, seconds {seconds}; expected at "
            "least 1 video in each subset and a range of lengths from 3 seconds up"
        )
    videos = folder / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    jobs = [
        _Job(videos / f"{prefix}_{index:03d}.mp4", subset, (seed, which, index), seconds)
        for which, (prefix, subset, count) in enumerate(
            zip(("train", "test"), SUBSETS, (train_videos, test_videos), strict=True)
        )
        for index in range(count)
    ]
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    # Spawned, not forked: the caller may hold an accelerator runtime that has its own threads.
    with progress_bar(make_console()) as progress, ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        task = progress.add_task("writing videos", total=len(jobs))
        futures: list[Future[dict[str, Any]]] = [pool.submit(_write_video, job) for job in jobs]
        for future in as_completed(futures):
            future.result()
            progress.advance(task)
    database = {job.path.stem: future.result() for job, future in zip(jobs, futures, strict=True)}
    (folder / "classes.txt").write_text("".join(f"{kind}\n" for kind in KINDS))
    (folder / "annotations.json").write_text(json.dumps({"database": database}, indent=1) + "\n")
