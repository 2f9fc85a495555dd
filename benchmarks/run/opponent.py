"""PyTorch's side of a case. Importing it needs torch (`context.why_no_torch`)."""

import time
import warnings
from typing import Any

import torch

from adatad_jax.config.build import make_loss
from adatad_jax.data.batch import Batch
from adatad_jax.training.optimizer import make_optimizer_config
from adatad_jax.training.parameters import merge
from benchmarks.pytorch.training import AdaTAD, Inference, Training, Windows, freeze_in, make_training
from benchmarks.pytorch.weights import tensors
from benchmarks.run.cases import STEPS_PER_EPOCH, Case, random_parameters
from benchmarks.run.ours import Shapes


def make_model(case: Case, shapes: Shapes, device: str, recompute: bool, fill: bool = True) -> AdaTAD:
    """Makes the detector of a case with the weights that our side has.

    Args:
      case: the work.
      shapes: of our side.
      device: cpu or cuda.
      recompute: whether the backbone's blocks compute their activations again in the backward pass.
      fill: whether to fill in the weights.
    """
    model = AdaTAD(shapes.plan.model.vit, shapes.plan.model.detector_config, case.side, recompute)
    if fill:
        params = random_parameters(merge(shapes.state.trained, shapes.state.frozen))
        model.load_state_dict(tensors(params, shapes.plan.model.vit, shapes.plan.model.detector_config))
    dtype = dtype_of(case)
    if dtype != torch.float32:
        freeze_in(model, dtype)
    return model if device == "cpu" else model.to(device)  # fake tensors cannot be moved


def make_case_training(case: Case, shapes: Shapes, model: AdaTAD) -> Training:
    """Makes the training of a case's model."""
    config, plan = case.config(), shapes.plan
    loss = make_loss(config.train)
    optimizer = make_optimizer_config(config, STEPS_PER_EPOCH)
    return make_training(model, plan.model.detector_config, loss, optimizer, config.train.ema, dtype_of(case))


def make_windows(batch: Batch, device: str) -> Windows:
    """Returns a batch as tensors on the device."""
    return Windows(*(torch.from_numpy(array).to(device) for array in batch[:4]))


def dtype_of(case: Case) -> torch.dtype:
    """Returns the dtype of a case's matrix products."""
    found: torch.dtype = getattr(torch, case.dtype)
    return found


class Step:
    """Training steps of a case, one after the other."""

    def __init__(self, training: Training, windows: Windows, compile_it: bool) -> None:
        """Prepares; compiling takes place at the first call."""
        self._training, self._windows = training, windows
        if compile_it:
            training.compile()

    def __call__(self, calls: int) -> float:
        """Takes steps; returns the seconds until the last one has ended."""
        synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            self._training.step(self._windows)
        synchronize()
        return time.perf_counter() - start


class Forward:
    """Predictions of a case's windows."""

    def __init__(self, model: AdaTAD, case: Case, windows: Windows, compile_it: bool) -> None:
        """Prepares; compiling takes place at the first call."""
        self._inference, self._windows = Inference(model, dtype_of(case), compile_it), windows

    def __call__(self, calls: int) -> float:
        """Predicts as often; returns the seconds of it."""
        synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            self._inference(self._windows.frames, self._windows.mask)
        synchronize()
        return time.perf_counter() - start


def synchronize() -> None:
    """Waits for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def forget() -> None:
    """Frees what compiled functions and the allocator keep of cases that are done."""
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def set_up(threads: int) -> None:
    """Sets the number of threads, and what float32 products mean on a GPU: float32, as on our side."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="dynamo_pgo force disabled")  # as asked for
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def matmul(size: int, dtype: str, device: str) -> Any:
    """Makes a product of square matrices; returns what makes so many calls of it and returns their seconds."""
    a, b = (torch.randn(size, size, dtype=getattr(torch, dtype), device=device) for _ in range(2))

    def calls(count: int) -> float:
        synchronize()
        start = time.perf_counter()
        for _ in range(count):
            a @ b
        synchronize()
        return time.perf_counter() - start

    return calls
