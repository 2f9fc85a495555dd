"""Makes the demo's backbone anew: `python -m adatad_jax.demo.backbone`, minutes on two CPU cores.

It writes labelled clips (`demo.clips`), pre-trains an encoder on them by masking, without labels, fine-tunes it with
labels, and exports it as a `.pth` in mmaction layout. What it writes into the repository is committed: the weights, the
histories of both trainings, and a picture of reconstructions.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from adatad_jax import cli
from adatad_jax.config.build_clips import check_finetuning, check_pretraining
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.load import load_record
from adatad_jax.console import make_console
from adatad_jax.demo.clips import generate_clips
from adatad_jax.demo.packaged import PACKAGED
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import require_one_process
from adatad_jax.files import check_output_folder
from adatad_jax.pipelines.finetune_classifier import finetune
from adatad_jax.pipelines.pretrain_autoencoder import pretrain
from adatad_jax.pipelines.reconstructions import PICTURE
from adatad_jax.training.history import HISTORY_FILE
from adatad_jax.weights.export import export

PRETRAINING, FINETUNING = Path("configs/pretrain_demo.py"), Path("configs/finetune_demo.py")
RECORD = Path("docs/demo_backbone")
SEED = 1000  # of the clips; the demo's videos have those of its option
CLIPS = 80  # of each label


def main(arguments: Sequence[str]) -> None:
    """Parses the command line and makes the backbone.

    Args:
      arguments: the command line without the program's name.

    Raises:
      UserError: the folder is in use, or holds another run.
    """
    require_one_process("demo.backbone")
    parser = argparse.ArgumentParser(description="Make the weights that the demo starts from, in minutes.")
    parser.add_argument("--workdir", type=Path, default=Path("runs/demo_backbone"), help="folder of all that is made")
    parser.add_argument("--output", type=Path, default=PACKAGED, help="file of the weights, which is replaced")
    parser.add_argument("--record", type=Path, default=RECORD, help="folder of the histories and the picture")
    parser.add_argument("--clips", type=int, default=CLIPS, help="clips to write per label")
    parser.add_argument("--epochs", type=int, help="epochs of each training, instead of the configurations'")
    args = parser.parse_args(arguments)
    console = make_console()
    pretraining, finetuning = clip_configs(args.workdir, args.epochs)
    keep_compiled(pretraining.compilation_cache)
    for folder in (args.workdir, args.output.parent, args.record):
        check_output_folder(folder)
    write_clips(args.workdir / "clips", args.clips)
    train_backbone(pretraining, finetuning, args.workdir, console)
    console.print(publish(args.workdir, args.output, args.record))


def clip_configs(workdir: Path, epochs: int | None = None) -> tuple[PretrainingConfig, FinetuningConfig]:
    """Loads the configurations of both trainings for this folder, with another number of epochs if given."""
    changes: dict[str, Path | int] = {"data.videos": workdir / "clips"}
    if epochs is not None:
        changes |= {"train.epochs": epochs, "train.schedule_epochs": epochs + 1, "train.warmup_epochs": 1}
    common = [f"--config.{field}={value}" for field, value in changes.items()]
    start = f"--config.weights={workdir / 'pretraining'}"
    return (
        load_record(PRETRAINING, common, PretrainingConfig, check_pretraining),
        load_record(FINETUNING, [*common, start], FinetuningConfig, check_finetuning),
    )


def write_clips(folder: Path, clips: int) -> None:
    """Writes the clips, unless the folder has them: it takes its name when it is complete."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    generate_clips(partial, seed=SEED, clips=clips)
    partial.rename(folder)


def train_backbone(
    pretraining: PretrainingConfig, finetuning: FinetuningConfig, workdir: Path, console: Console
) -> None:
    """Runs both trainings in the folders `pretraining` and `finetuning`, or continues them.

    Args:
      pretraining: configuration of the masked pre-training.
      finetuning: configuration of the fine-tuning, which starts from the pre-training.
      workdir: the folder.
      console: where progress is shown.
    """
    console.rule("masked pre-training")
    pretrain(pretraining, workdir / "pretraining", console)
    console.rule("fine-tuning with labels")
    finetune(finetuning, workdir / "finetuning", console)


def publish(workdir: Path, output: Path, record: Path) -> str:
    """Exports the fine-tuned network, and copies the histories and the picture.

    Args:
      workdir: the folder of both trainings.
      output: file of the weights, which is replaced.
      record: folder of what is kept of the trainings.

    Returns:
      The export's summary.
    """
    exported = workdir / output.name
    exported.unlink(missing_ok=True)
    summary = export(workdir / "finetuning", exported)
    record.mkdir(parents=True, exist_ok=True)
    shutil.copy(exported, output)
    shutil.copy(workdir / "pretraining" / HISTORY_FILE, record / "pretraining.jsonl")
    shutil.copy(workdir / "finetuning" / HISTORY_FILE, record / "finetuning.jsonl")
    shutil.copy(workdir / "pretraining" / PICTURE, record / PICTURE)
    return summary


def entry() -> None:
    """Runs the command as a console script."""
    cli.run(main)


if __name__ == "__main__":
    entry()
