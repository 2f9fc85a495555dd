"""Filling of a frame cache with the videos of trainings on clips, every frame of them: clips start anywhere."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from adatad_jax.config.clip_fields import ClipsConfig, FinetuningConfig, PretrainingConfig
from adatad_jax.data.annotation_table import read_lengths
from adatad_jax.data.cache import CacheTask
from adatad_jax.data.clip_labels import load_labels
from adatad_jax.data.clip_videos import find_clip_videos
from adatad_jax.data.paths import check_finetuning_paths, check_pretraining_paths
from adatad_jax.data.sampling import EveryFrame
from adatad_jax.pipelines.prepare_cache import Item, fill, lacking


def prepare_pretraining(
    config: PretrainingConfig, folder: Path, quality: int | None, workers: int, console: Console
) -> bool:
    """Decodes the videos that the cache of a pre-training lacks; see `prepare_cache.prepare`."""
    config = config.with_fields({"data.cache": "", "weights": ""})
    check_pretraining_paths(config)
    files = find_clip_videos(config.data)
    return _fill(files, dict.fromkeys(files, (config.data.short_side,)), config.data, folder, quality, workers, console)


def prepare_finetuning(
    config: FinetuningConfig, folder: Path, quality: int | None, workers: int, console: Console
) -> bool:
    """Decodes the videos that the cache of a fine-tuning lacks; see `prepare_cache.prepare`.

    Training crops frames of `data.short_side`; evaluation takes frames whose short side is `data.crop`.
    """
    config = config.with_fields({"data.cache": "", "weights": ""})
    check_finetuning_paths(config)
    found = load_labels(config.data, with_test=bool(config.train.eval_from))
    files = {name: one.file for name, one in {**found.training, **found.test}.items()}
    sides = {
        name: tuple(
            side
            for subset, side in ((found.training, config.data.short_side), (found.test, config.data.crop))
            if name in subset
        )
        for name in files
    }
    return _fill(files, sides, config.data, folder, quality, workers, console)


def _fill(
    files: Mapping[str, Path | None],
    sides: Mapping[str, tuple[int, ...]],
    data: ClipsConfig,
    folder: Path,
    quality: int | None,
    workers: int,
    console: Console,
) -> bool:
    """Fills a cache with videos at some short sides each; other arguments and errors are those of `fill`."""
    there = {name: path for name, path in files.items() if path is not None}
    lengths, unreadable = read_lengths(there, data.threads, data.time_limit)
    items = [
        Item(
            lacking(CacheTask(folder, name, path, sides[name], EveryFrame(), quality, data.reader)),
            lengths[name].duration,
        )
        for name, path in there.items()
        if name in lengths
    ]
    return fill(items, unreadable, folder, data, workers, console)
