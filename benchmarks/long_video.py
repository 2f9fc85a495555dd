"""Memory and speed of detection in a long video: `python -m benchmarks.long_video --workdir runs/demo`.

Makes an H.264 file of an hour (320x180, 25 frames per second, a key frame every 250 frames) and one of two minutes,
runs `python -m adatad_jax.detect` on each, and records the memory of the process. Memory does not grow with the length
if the peak of the hour is about that of two minutes.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import av
import numpy as np

from benchmarks.results import add_write_option, dated, write_between

RATE, WIDTH, HEIGHT = 25, 320, 180
EVERY = 0.2  # seconds between two measurements of the memory
TITLES = "| video | seconds | seconds of video per second | peak MiB | in each quarter of the time |"


def make_video(path: Path, seconds: int) -> None:
    """Writes a video of a bright square that moves over static noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 80, (HEIGHT, WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(seconds * RATE):
            frame = noise.copy()
            x = int((WIDTH - 32) * (0.5 + 0.5 * np.sin(number / 40)))
            y = int((HEIGHT - 32) * (0.5 + 0.5 * np.cos(number / 23)))
            frame[y : y + 32, x : x + 32] = 230
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def memory(pid: int) -> int:
    """Returns the resident memory of a process, in bytes; 0 once the process has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return 4096 * pages


def detect(video: Path, workdir: Path, output: Path) -> tuple[float, list[int]]:
    """Runs detection; returns its seconds, and the memory of its process over time, in bytes."""
    command = [sys.executable, "-m", "adatad_jax.detect", "--workdir", workdir, "--output", output, video]
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command])
    seen: list[int] = []

    def look() -> None:
        while process.poll() is None:
            seen.append(memory(process.pid))
            time.sleep(EVERY)

    watcher = threading.Thread(target=look)
    watcher.start()
    code = process.wait()
    watcher.join()
    if code:
        sys.exit(f"detection in {video} failed")
    return time.perf_counter() - started, seen


def main() -> None:
    """Prints speed and memory of detection in both videos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo"), help="folder of a trained run")
    parser.add_argument("--minutes", type=int, default=60, help="length of the long video")
    add_write_option(parser)
    args = parser.parse_args()
    lines = [TITLES, "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        for minutes in (2, args.minutes):
            video = Path(scratch) / f"{minutes}_minutes.mp4"
            make_video(video, 60 * minutes)
            seconds, seen = detect(video, args.workdir, Path(scratch) / "found")
            quarters = ", ".join(f"{max(part) / 2**20:.0f}" for part in np.array_split(seen, 4))
            rate, peak = 60 * minutes / seconds, max(seen) / 2**20
            lines.append(f"| {minutes} minutes | {seconds:.1f} | {rate:.0f} | {peak:.0f} | {quarters} |")
    text = "\n".join(lines)
    print(text)
    if args.write:
        write_between("benchmarks.long_video", f"{dated('benchmarks.long_video')}\n\n{text}")


if __name__ == "__main__":
    main()
