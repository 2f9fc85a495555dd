"""The fields that every run has, whatever it trains: reading of videos, encoder, steps and checkpoints."""

from dataclasses import dataclass, field
from typing import ClassVar

from adatad_jax.config.records import Record
from adatad_jax.config.settings import setting
from adatad_jax.models.sizes import IMAGE_SIZE, NORM_EPS, SIZES


@dataclass(frozen=True)
class ReadingConfig:
    """Video files, and how they are read."""

    videos: str = setting("", "folder of video files named as in the annotations, any container")
    in_memory: bool = setting(False, "keep every video's resized frames in memory (small data sets)")
    threads: int = setting(8, "decoding threads of training and evaluation; detect takes all cores", at_least=1)
    time_limit: float = setting(60.0, "seconds that a video may take to open, and a sample to be read", above=0)
    reader: str = setting(
        "pyav",
        "of the videos; decord: for those that it is shown to read rightly, pyav for the others, and in detect for all",
        one_of=("pyav", "decord"),
    )
    retries: int = setting(
        3, "times a read of a video that failed in training or evaluation is repeated, 1, 2, 4 ... s later", at_least=0
    )
    skip_broken: bool = setting(False, "go on without videos that cannot be read, and list them")
    cache: str = setting(
        "", "folder written by `python -m adatad_jax.prepare`: frames come from it, not from the videos"
    )


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder."""

    size: str = setting("S", "size of the backbone", one_of=tuple(SIZES))
    image_size: int = setting(IMAGE_SIZE, "side of the pre-training frames, pixels", at_least=1)
    norm_eps: float = setting(
        NORM_EPS, "epsilon of the backbone's norms (checkpoints of Hugging Face: 1e-12)", above=0, below=1
    )
    dtype: str = setting(
        "bfloat16",
        "of matrix products; parameters, norms and losses are float32",
        one_of=("float32", "bfloat16"),
    )


@dataclass(frozen=True)
class StepsConfig:
    """Batches and epochs, and when a run is saved, evaluated and shown."""

    batch_size: int = setting(2, "windows or clips of a step, over all devices", at_least=1)
    accumulate: int = setting(
        1, "parts of a batch that are computed one after the other, for batches larger than memory", at_least=1
    )
    epochs: int = setting(60, "epochs that are run", at_least=1)
    warmup_epochs: int = setting(5, "epochs over which the learning rate rises", at_least=1)
    weight_decay: float = setting(0.05, "decoupled weight decay", at_least=0)
    ema: float = setting(0.999, "decay of the average of the trained parameters", at_least=0, below=1)
    checkpoint_every: int = setting(2, "epochs between checkpoints", at_least=1)
    checkpoint_steps: int = setting(0, "steps between checkpoints inside an epoch; 0: none there", at_least=0)
    checkpoint_minutes: float = setting(15.0, "minutes between checkpoints at most; 0: no limit", at_least=0)
    keep_checkpoints: int = setting(
        3, "how many checkpoints at ends of epochs are kept, the latest; the best evaluated one is kept too", at_least=1
    )
    keep_evaluated: bool = setting(False, "the checkpoints of all evaluated epochs are kept")
    failed_saves: int = setting(5, "failures to save in a row that end the run", at_least=1)
    grace: float = setting(30.0, "seconds in which a run that is asked to leave (SIGTERM) saves and ends", above=0)
    skip_bad_steps: int = setting(
        0, "steps in a row that may be left out because their loss or gradient is not finite; 0: none", at_least=0
    )
    eval_from: int = setting(0, "first epoch after which to evaluate, counted from 1; 0: never", at_least=0)
    eval_every: int = setting(
        2, "epochs between evaluations, at least 1; without effect where eval_from is 0", at_least=0
    )
    log_steps: int = setting(
        10, "steps between the values that TensorBoard and Weights & Biases get; 0: they get none", at_least=0
    )
    wandb: str = setting(
        "off",
        "whether Weights & Biases gets what TensorBoard gets: not at all, into the run's folder, or over the network",
        one_of=("off", "offline", "online"),
    )
    profile_steps: tuple[int, ...] = setting(
        (), "first and last step to profile, counted from 1, such as 10,20; (): no profile"
    )
    resume_with_changes: bool = setting(
        False,
        "let this start continue a run with another configuration or other training videos; each change is listed and "
        "recorded (docs/training.md)",
    )


@dataclass(frozen=True)
class DistributedConfig:
    """Several processes that share a training, where neither JAX's variables nor a cluster says how they meet.

    It says how a run is started, not what it is: it is not part of the run's folder.
    """

    coordinator: str = setting("", "HOST:PORT at which process 0 listens; empty: as the environment says")
    processes: int = setting(0, "how many there are; 0: as the environment says", at_least=0)
    process: int = setting(-1, "which one this is, from 0; -1: as the environment says", at_least=-1)
    timeout: float = setting(60.0, "seconds to wait for the others at the start", above=0)


@dataclass(frozen=True)
class RunConfig(Record):
    """All of a run's configuration; the records of the tasks add to it and to its sections.

    Attributes:
      task: what is trained, in words; run folders hold it.
    """

    task: ClassVar[str]

    seed: int = setting(0, "of all random numbers", at_least=0)
    weights: str = setting(
        "",
        "what a run starts from: the VideoMAE backbone (a .pth, or a folder written by convert/pth_to_flax.py), or a "
        "whole detector (the folder of a run, a converted folder, or a .pth)",
    )
    weights_step: str = setting(
        "latest",
        "which checkpoint, where the weights are a run: latest, best (in its evaluations), or a number of steps",
    )
    weights_from: str = setting("", "where to get the weights, shown when they are missing")
    compilation_cache: str = setting(
        "",
        "folder in which compiled programs are kept for later starts; off: none; empty: JAX_COMPILATION_CACHE_DIR, or "
        "else the user's cache folder",
    )
    data: ReadingConfig = field(default_factory=ReadingConfig)
    model: EncoderConfig = field(default_factory=EncoderConfig)
    train: StepsConfig = field(default_factory=StepsConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
