"""Time of the augmentation on the default device, for each operation: `python -m benchmarks.augment [--frames N]`.

One window of 160 x 160 px. For comparison, the time that PIL and OpenCV take on one host thread.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import jax
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from adatad_jax.augmentation.augment import augment
from adatad_jax.augmentation.draws import Augmentation, Operation, OperationsDraw, draw_augmentation, source_matrix
from benchmarks.results import add_write_option, report

SIDE, RUNS, WINDOWS = 160, 5, 20

Frame = np.ndarray
HOST: dict[Operation, Callable[[Frame], Any]] = {
    Operation.ROTATE: lambda frame: cv2.warpAffine(frame, source_matrix(Operation.ROTATE, 1, SIDE, SIDE), (SIDE, SIDE)),
    Operation.POSTERIZE: lambda frame: ImageOps.posterize(Image.fromarray(frame), 3),
    Operation.SOLARIZE: lambda frame: ImageOps.solarize(Image.fromarray(frame), 230),
    Operation.COLOR: lambda frame: ImageEnhance.Color(Image.fromarray(frame)).enhance(1.72),
    Operation.CONTRAST: lambda frame: ImageEnhance.Contrast(Image.fromarray(frame)).enhance(1.72),
    Operation.BRIGHTNESS: lambda frame: ImageEnhance.Brightness(Image.fromarray(frame)).enhance(1.72),
    Operation.SHARPNESS: lambda frame: ImageEnhance.Sharpness(Image.fromarray(frame)).enhance(1.72),
    Operation.AUTOCONTRAST: lambda frame: ImageOps.autocontrast(Image.fromarray(frame)),
    Operation.EQUALIZE: lambda frame: ImageOps.equalize(Image.fromarray(frame)),
    Operation.INVERT: lambda frame: ImageOps.invert(Image.fromarray(frame)),
}


def milliseconds(function: Callable[[], Any]) -> float:
    """Returns the mean time of a call, in milliseconds, after a first call that compiles."""
    jax.block_until_ready(function())
    start = time.perf_counter()
    for _ in range(RUNS):
        jax.block_until_ready(function())
    return (time.perf_counter() - start) / RUNS * 1e3


def main() -> None:
    """Prints the time of each operation, and the mean and maximum over random draws of the whole augmentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=64, help="of the window")
    add_write_option(parser)
    args = parser.parse_args()
    report("benchmarks.augment", measure(args.frames), args.write)


def measure(count: int) -> Iterator[str]:
    """Yields a line per operation, and one on the whole augmentation, for a window of so many frames."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, count, SIDE, SIDE, 3), np.uint8)
    on_device = jax.device_put(frames)
    run = jax.jit(augment)
    yield f"{jax.devices()[0].device_kind}, {count} frames of {SIDE} px, ms per window"
    for operation, host in HOST.items():
        matrices = np.array([[source_matrix(operation, 1, SIDE, SIDE), np.eye(2, 3)]], np.float32)
        chosen = OperationsDraw(
            np.array([[operation, Operation.CUTOUT]], np.int32), matrices, np.zeros((1, 4), np.int32)
        )
        ours = milliseconds(lambda draw=chosen: run(on_device, Augmentation(draw, None)))  # type: ignore[misc]
        theirs = milliseconds(lambda host=host: [np.asarray(host(frame)) for frame in frames[0]])  # type: ignore[misc]
        yield f"{operation.name.lower():14} device {ours:7.1f}   host {theirs:7.1f}"
    spent = []
    for _ in range(WINDOWS):
        draw = jax.tree.map(lambda leaf: leaf[None], draw_augmentation(rng, SIDE, SIDE, True, True))
        spent.append(milliseconds(lambda draw=draw: run(on_device, draw)))  # type: ignore[misc]
    yield f"two operations and jitter, {WINDOWS} draws: mean {np.mean(spent):.1f}, maximum {max(spent):.1f}"


if __name__ == "__main__":
    main()
