"""Fields that a configuration leaves open, to be chosen for its data set."""

from adatad_jax.config.fields import Config

# Fields that can be left open, 0 or (), where `propose` is set.
PROPOSED = (
    "data.rate",
    "data.stride",
    "data.window",
    "model.regression_ranges",
    "train.batch_size",
    "train.epochs",
    "train.schedule_epochs",
    "train.warmup_epochs",
    "train.checkpoint_every",
)


def open_fields(config: Config) -> tuple[str, ...]:
    """Returns the fields that `data.propose` is to fill."""
    values = config.flat()
    return tuple(name for name in PROPOSED if values[name] in (0, ())) if config.propose else ()


def take_open_fields(config: Config, run: Config) -> Config:
    """Returns the configuration with its open fields as in the whole configuration of a run."""
    values = run.flat()
    return config.with_fields({"propose": False, **{name: values[name] for name in open_fields(config)}})
