"""Training runs that take seconds, and their configuration files."""

from pathlib import Path

from adatad_jax.config.fields import Config
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.demo.dataset import generate
from adatad_jax.weights.convert_file import convert_file
from tests.tiny_detector import tiny_config
from tests.tiny_videomae import videomae_state

VIDEOS, EPOCHS = 5, 3


def make_data(folder: Path) -> None:
    """Makes `VIDEOS` training videos of 36 to 75 positions, a test video, annotations and weights."""
    generate(folder, seed=0, train_videos=VIDEOS, test_videos=1, seconds=(3.0, 5.0), workers=1)
    write_tensors(folder / "tiny.pth", videomae_state(0))
    convert_file(folder / "tiny.pth", folder / "weights")


def small_config(folder: Path) -> Config:
    """A run of `EPOCHS` epochs on the data of a folder, which need not be there; nothing random precedes the model."""
    return tiny_config().with_fields(
        {
            "weights": str(folder / "weights"),
            "data.videos": str(folder / "videos"),
            "data.annotations": str(folder / "annotations.json"),
            "data.random_resized_crop": False,
            "data.flip": 0.0,
            "data.rand_augment": False,
            "data.color_jitter": False,
            "model.embed": 1,
            "model.stem": 0,
            "model.branch": 1,
            "model.head_convs": 0,
            "model.regression_ranges": ((0, 4), (4, 10000)),
            "train.epochs": EPOCHS,
            "train.schedule_epochs": EPOCHS,
            "train.warmup_epochs": 1,
            "train.release_gpus": 1,
        }
    )


def config_file(folder: Path, config: Config) -> Path:
    """Writes a configuration file with these fields."""
    path = folder / "recipe.py"
    lines = [f"    config.{name} = {value!r}" for name, value in config.flat().items()]
    head = "from adatad_jax.config.fields import default\n\n\ndef get_config():\n    config = default()\n"
    path.write_text("\n".join([head, *lines, "    return config\n"]))
    return path
