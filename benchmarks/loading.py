"""Time and memory of loading training samples, from H.264 and from the frame cache, with one thread and with many.

`python -m benchmarks.loading [VIDEO ...]` takes the user's videos in place of the ones made here, which have the bit
rate of web videos of 320x180 (about 250 kbit/s at CRF 23) and a key frame every 250 frames. It takes three minutes on
two cores. Nothing else should run on the machine, because its work would count as time of the threads.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from adatad_jax.config.fields import Config
from adatad_jax.data.cache import DEFAULT_QUALITY
from adatad_jax.data.dataset import Sample, TrainingWindows
from adatad_jax.data.loader import TrainingBatches, load_ahead
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.pipelines.prepare_cache import prepare
from adatad_jax.video.decode import open_video
from adatad_jax.video.decord_reader import is_installed
from benchmarks.results import add_write_option, report

MINUTES, GOP, FPS = 4, 250, 30
ROUNDS = 7
LARGE = ((1920, 1080), (1080, 1920), (1440, 1080))  # (width, height) in pixels
CORES = len(os.sched_getaffinity(0))


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Makes an image `[height, width, 3]` uint8 with the spectrum of natural images: more luma than colour contrast."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = np.maximum(frequency, 1 / width) ** -1.5
    planes = []
    for contrast in (40, 8, 8):
        phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
        plane = np.fft.irfft2(amplitude * np.exp(1j * phase), (height, width))
        planes.append(contrast * plane / plane.std())
    light, red, blue = planes
    result: np.ndarray = np.clip(
        np.stack([light + red, light - red / 2 - blue / 4, light + blue], -1) + 128, 0, 255
    ).astype(np.uint8)
    return result


def write_video(path: Path, width: int, height: int, frames: int, preset: str) -> None:
    """Writes a video of a camera that moves and turns over a background with moving objects, with a little noise."""
    rng = np.random.default_rng(len(path.stem))
    background = texture(rng, int(1.8 * height), int(1.8 * width))
    things = [texture(rng, height // 2, width // 5) for _ in range(3)]
    noise = rng.normal(0, 2, (8, height, width, 1)).astype(np.float32)
    options = {"g": str(GOP), "keyint_min": str(GOP), "crf": "23", "preset": preset}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            seconds = index / FPS
            centre = (0.9 + 0.3 * np.sin(seconds)) * width, (0.9 + 0.3 * np.sin(1.3 * seconds)) * height
            view = cv2.getRotationMatrix2D(centre, 8 * np.sin(2 * seconds), 1 + 0.1 * np.sin(1.7 * seconds))
            view[:, 2] += np.array([width, height]) / 2 - centre
            frame = cv2.warpAffine(background, view, (width, height), borderMode=cv2.BORDER_REFLECT)
            for number, thing in enumerate(things, start=2):
                left = int(0.4 * width * (1 + np.sin(number * seconds)))
                top = int(0.25 * height * (1 + np.cos((number + 0.5) * seconds)))
                frame[top : top + thing.shape[0], left : left + thing.shape[1]] = thing
            frame = np.clip(frame + noise[index % len(noise)], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


def make_config(folder: Path, videos: Sequence[Path]) -> Config:
    """Makes the configuration of the published recipe for these videos, with a segment every 10 seconds."""
    database = {}
    (folder / "videos").mkdir(parents=True)
    for path in videos:
        (folder / "videos" / path.name).symlink_to(path.resolve())
        reader = open_video(path)
        duration = reader.frame_count / reader.fps
        segments = [{"segment": [at, min(at + 5, duration)], "label": "action"} for at in range(0, int(duration), 10)]
        database[path.stem] = {"subset": "all", "duration": duration, "frame": reader.frame_count}
        database[path.stem]["annotations"] = segments
    (folder / "annotations.json").write_text(json.dumps({"database": database}))
    config = Config().with_fields(
        {"data.videos": str(folder / "videos"), "data.annotations": str(folder / "annotations.json")}
    )
    return config.with_fields({"data.train_subset": "all", "data.test_subset": "all", "train.release_gpus": 1})


def open_windows(config: Config, cache: Path | None = None) -> TrainingWindows:
    """Opens the training windows, from the videos or from a cache."""
    config = config.with_fields({"data.cache": str(cache or "")})
    return TrainingWindows(load_subset(config, "all", load_classes(config), training=True), config)


def timed(windows: TrainingWindows, samples: Sequence[tuple[int, int]], threads: int) -> tuple[float, float]:
    """Loads samples (epoch, index); returns the seconds per sample, by the clock and as CPU time of all cores."""
    clock, work = time.perf_counter(), time.process_time()
    for _, loaded in load_ahead(samples, lambda sample: windows.load(*sample), threads, threads):
        assert isinstance(loaded, Sample), loaded
    return (time.perf_counter() - clock) / len(samples), (time.process_time() - work) / len(samples)


def measure_loading(folder: Path, videos: Sequence[Path]) -> Iterator[str]:
    """Loads samples from each source in turns, with one thread and with one per core; yields lines with the times."""
    config = make_config(folder, videos)
    sources = {"H.264": open_windows(config)}
    if is_installed():
        sources["H.264, decord"] = open_windows(config.with_fields({"data.reader": "decord"}))
    for name, quality in (("cache", DEFAULT_QUALITY), ("cache, quality 95", 95), ("cache, lossless", None)):
        prepare(config, folder / name, quality, CORES, Console(quiet=True))
        sources[name] = open_windows(config, folder / name)
        frames = sum(len(range(0, open_video(path).frame_count, config.data.stride)) for path in videos)
        size = sum(
            path.stat().st_size for path in (folder / name).glob(f"{config.data.train_short_side}/*.array_record")
        )
        yield f"{name}: {size / frames / 1e3:.1f} kB per frame"
    spent: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for epoch in range(ROUNDS):
        for threads in (1, CORES):
            samples = [(epoch * CORES + copy, index) for copy in range(CORES) for index in range(len(videos))]
            for name, windows in sources.items():
                spent.setdefault((name, threads), []).append(timed(windows, samples, threads))
    # The first round is a warm-up.
    mean = {key: np.mean(rounds[1:], axis=0) for key, rounds in spent.items()}
    table = Table("seconds per sample", *sources, title="768 frames, random resized crop to 160 px")
    for threads in (1, CORES):
        table.add_row(f"{threads} threads", *(f"{mean[name, threads][0]:.3f}" for name in sources))
        ratios = [mean["H.264", threads][0] / mean[name, threads][0] for name in sources]
        table.add_row("  times as fast", *(f"{ratio:.1f}" for ratio in ratios))
    table.add_row("work of one thread", *(f"{mean[name, 1][1]:.3f}" for name in sources))
    shares = [mean[name, 1][1] / CORES / mean[name, CORES][0] for name in sources]
    table.add_row(f"  {CORES} threads, of {CORES} cores' best", *(f"{share:.0%}" for share in shares))
    text = io.StringIO()
    Console(width=100, file=text).print(table)
    yield text.getvalue().rstrip()


def resident() -> float:
    """Returns the resident memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure_peak(folder: Path) -> None:
    """Loads two batches of two windows of 768 frames of large videos, and prints this process's peak memory."""
    start = resident()
    config = make_config(folder / "peak", sorted(folder.glob("large*.mp4")))
    config = config.with_fields({"data.stride": 1})
    batches = TrainingBatches(open_windows(config), config)
    for _ in batches.from_step(0, 2):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = ", ".join(f"{width}x{height}" for width, height in LARGE)
    print(f"peak of memory, batches of 2, 768 frames of {sizes}: {peak:.0f} MiB, of which the program {start:.0f}")


def measure_growth(folder: Path) -> None:
    """Loads 300 windows of 96 frames from each source, and prints the memory after 100 and after all windows."""
    config = make_config(folder / "growth", sorted(folder.glob("small*.mp4")))
    config = config.with_fields({"data.window": 96})
    for name, cache in (("H.264", None), ("cache", folder / "growth" / "cache")):
        if cache is not None:
            prepare(config, cache, DEFAULT_QUALITY, CORES, Console(quiet=True))
        windows = open_windows(config, cache)
        held = []
        for number, _ in enumerate(load_ahead(range(300), lambda epoch: windows.load(epoch, 0), CORES, CORES)):  # noqa: B023
            if number in (99, 299):
                held.append(resident())
        print(f"memory after 100 and 300 samples from {name}: {held[0]:.0f} and {held[1]:.0f} MiB")


def main() -> None:
    """Makes the videos and prints all measurements."""
    parts = {"peak": measure_peak, "growth": measure_growth}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, help="to load from; default: one that is made")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)  # of a process of its own, and its folder
    add_write_option(parser)
    args = parser.parse_args()
    if args.part:
        parts[args.part[0]](Path(args.part[1]))
        return
    report("benchmarks.loading", measure(args.videos, list(parts)), args.write)


def measure(videos: list[Path], parts: Sequence[str]) -> Iterator[str]:
    """Yields the lines of all measurements, of videos or of one that is made; each part has a process of its own."""
    started, are_given = time.perf_counter(), bool(videos)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not are_given:
            videos = [folder / "small.mp4"]
            write_video(videos[0], 320, 180, round(MINUTES * 60 * FPS), "medium")
            rate = videos[0].stat().st_size * 8 / (MINUTES * 60) / 1e3
            yield f"320x180, {MINUTES} minutes, key frame every {GOP} frames, {rate:.0f} kbit/s"
        yield from measure_loading(folder / "loading", videos)
        for width, height in LARGE:
            write_video(folder / f"large_{width}.mp4", width, height, 800, "ultrafast")
        for part in ("peak",) if are_given else parts:  # growth takes the video that is made
            command = [sys.executable, "-m", "benchmarks.loading", "--part", part, name]
            yield from subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    yield f"{CORES} cores, {time.perf_counter() - started:.0f} s in all"


if __name__ == "__main__":
    main()
