"""How a detector fits its devices in evaluation and detection: its weights, and what of a batch is computed at once."""

from collections.abc import Callable

import jax

from adatad_jax.config.build import make_detector, make_model, make_vit
from adatad_jax.config.fields import Config, ModelConfig
from adatad_jax.config.memory import MemoryChoice, budget_of, choose_policy
from adatad_jax.devices.choice import set_precision
from adatad_jax.devices.memory import least_available
from adatad_jax.inference.predictor import Predictor
from adatad_jax.models.layers import Params
from adatad_jax.models.memory_estimate import Work
from adatad_jax.models.sizes import CHUNK_FRAMES
from adatad_jax.training.parameters import detector_groups, with_frozen_in


def evaluated_chunks(config: Config) -> int:
    """Returns the number of 16-frame chunks that a device evaluates at once, of all windows."""
    return config.test.batch_size * config.data.window * config.data.frames_per_position // CHUNK_FRAMES


def kept_dtype(model: ModelConfig) -> str:
    """Returns the dtype of a frozen backbone's matrices: that of products, which would cast them at every call."""
    is_cast = model.dtype == "bfloat16" and model.adaptation != "full"
    return model.dtype if is_cast else model.frozen_dtype


def kept_params(params: Params, model: ModelConfig) -> Params:
    """Returns a detector's parameters as devices keep them for inference."""
    return with_frozen_in(params, kept_dtype(model), detector_groups(model.adaptation == "full"))


def fitted_predictor(
    config: Config, params: Params, classes: int, windows: int, say: Callable[[str], object]
) -> Predictor:
    """Places a detector on this process's devices, as it fits them.

    Args:
      config, params: of the detector.
      classes: number of classes.
      windows: that each device computes at once.
      say: takes how it fits, in words.

    Raises:
      UserError: it does not fit; the message says what would.
    """
    set_precision(config.model.dtype)
    choice = inference_policy(config, classes, windows, kept_dtype(config.model))
    say(choice.describe())
    return Predictor(make_model(config, classes, choice.policy), kept_params(params, config.model), windows)


def inference_policy(config: Config, classes: int, windows: int, frozen_dtype: str = "") -> MemoryChoice:
    """Chooses how a detector fits this process's devices.

    Args:
      config: of the detector.
      classes: number of classes.
      windows: that each device computes at once.
      frozen_dtype: `kept_dtype`; empty inside a training, whose own arrays are used.

    Raises:
      UserError: they do not fit; the message says what would.
    """
    devices = jax.local_devices()
    work = Work(
        vit=make_vit(config.model),
        detector=make_detector(config, classes),
        windows=windows,
        frames=config.data.window * config.data.frames_per_position,
        side=config.data.crop,
        dtype=config.model.dtype,
        frozen_dtype=frozen_dtype or config.model.frozen_dtype,
        platform=jax.default_backend(),
    )
    fewer = [f"fewer windows at once than {windows} (evaluate: --config.test.batch_size)"] if windows > 1 else []
    savings = [*fewer, f"--config.data.window below {config.data.window}", "a device with more memory"]
    return choose_policy(config.model, work, budget_of(config.model, *least_available(devices)), None, savings)
