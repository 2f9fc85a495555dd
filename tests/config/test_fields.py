"""Configurations: every file builds, and wrong fields are refused by name and value."""

import re
from pathlib import Path

import pytest

from adatad_jax import cli
from adatad_jax.config.build import make_model, make_vit, tia_blocks
from adatad_jax.config.fields import Config
from adatad_jax.config.load import load_config
from adatad_jax.errors import UserError
from adatad_jax.weights.load import published_configs

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", published_configs(), ids=lambda p: p.stem)
def test_every_config_builds(path: Path) -> None:
    config = load_config(path)
    if not config.propose:  # otherwise fields of the model are open
        make_model(config, classes=20)
    assert config.weights_from
    assert config.data.come_from


def test_thumos_s_is_the_published_recipe() -> None:
    """Compares sizes, rates, schedule and evaluation with the published run."""
    config = load_config(CONFIGS / "thumos_s.py")
    vit = make_vit(config.model)
    assert (vit.width, vit.depth, vit.tia_blocks, vit.tia_hidden, vit.drop_path) == (384, 12, tuple(range(12)), 96, 0.1)
    train, data, test = config.train, config.data, config.test
    assert (train.batch_size, train.epochs, train.schedule_epochs, train.warmup_epochs) == (2, 60, 100, 5)
    assert (train.tia_rate, train.head_rate, train.weight_decay, train.clip_norm, train.ema) == (
        2e-4,
        1e-4,
        0.05,
        1.0,
        0.999,
    )
    assert (data.window, data.stride, data.overlap, data.crop, data.train_short_side) == (768, 4, 0.5, 160, 182)
    assert (test.sigma, test.max_seg_num, test.pre_nms_thresh, test.pre_nms_topk) == (0.7, 2000, 0.001, 2000)
    assert test.tious == (0.3, 0.4, 0.5, 0.6, 0.7)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.data.strid=4", "data.strid"),
        ("--config.data.stride=four", "data.stride=four"),
        ("--config.model.size=XL", "tiny, S, B, L, H, g"),
        ("--config.data.window=760", "multiple of 16"),
        ("--config.data.window=784", "multiple of 32"),
        ("--config.model.tia_blocks=0,99", "blocks 0 to 11"),
        ("--config.model.tia_blocks=last", "0,2,20-39"),
        ("--config.model.dtype=float16", "float32, bfloat16"),
        ("--config.data.crop=8", "16 pixels"),
        ("--config.model.image_size=8", "16"),
        ("--config.model.drop_path=1.0", "in [0, 1)"),
        ("--config.model.embed=0", "at least 1"),
        ("--config.train.epochs=0", "at least 1"),
        ("--config.data.stride=0", "at least 1"),
        ("--config.data.split=1.0", "in (0, 1)"),
        ("--config.train.epochs=101", "schedule_epochs"),
        ("--config.data.overlap=1.0", "[0, 1)"),
        ("--config.test.sigma=0.0", "sigma"),
        ("--config.train.tia_rate=-1.0", "above 0"),
        ("--config.data.fps=inf", "finite"),
        ("--config.train.eval_every=0", "at least 1"),
        ("--config.train.profile_steps=10", "the first and the last step"),
        ("--config.train.profile_steps=", "or () for no profile"),
        ("--config.train.profile_steps=(20, 10)", "the first and the last step"),
        ("--config.train.profile_steps=(0, 10)", "the first and the last step"),
        ("--config.train.log_steps=-1", "at least 0"),
        ("--config.train.wandb=yes", "one of off, offline, online"),
        ("--config.train.eval_every=-1", "at least 0"),
        ("--config.train.batch_size=0", "at least 1"),
        ("--config.train.batch_size=-2", "at least 1"),
        ("--config.test.batch_size=0", "at least 1"),
        ("--config.train.accumulate=0", "at least 1"),
        ("--config.train.accumulate=3", "train.batch_size=2: 1, 2"),
        ("--config.test.classifier=scores.json", "data.class_agnostic"),
    ],
)
def test_wrong_fields_are_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_config(CONFIGS / "thumos_s.py", [override])
    assert override.partition("=")[2] in str(caught.value)


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        load_config(CONFIGS / "thumos_s.py", ["--config.data.window=100", "--config.train.ema=2.0"])
    assert "data.window=100" in str(caught.value)
    assert "train.ema=2.0" in str(caught.value)


def test_the_period_of_an_evaluation_that_never_happens_is_free() -> None:
    config = load_config(CONFIGS / "thumos_s.py", ["--config.train.eval_from=0", "--config.train.eval_every=0"])
    assert config.train.eval_every == 0


def test_a_configuration_may_have_any_name_and_hold_dataclasses(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\nfrom adatad_jax.config import default\n"
        "@dataclasses.dataclass\nclass Mine:\n  seed: int = 5\n"
        "def get_config():\n  c = default()\n  c.seed = Mine().seed\n  return c\n"
    )
    assert load_config(path).seed == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [("c.data.mine = 3", r"no such field: data\.mine\b"), ("c.seed = None", r"\bseed=None\b")],
)
def test_fields_forced_past_the_lock_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "forced.py"
    path.write_text(
        "from adatad_jax.config import default\n"
        f"def get_config():\n  c = default()\n  with c.unlocked(), c.ignore_type():\n    {line}\n  return c\n"
    )
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_a_file_that_is_missing_or_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/nowhere\.py: no such file\b"):
        load_config(tmp_path / "nowhere.py")
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config():\n    raise ValueError('my own mistake')\n")
    with pytest.raises(UserError, match=r"broken\.py.*my own mistake"):
        load_config(broken)
    broken.write_text("def get_config():\n    return 3\n")
    with pytest.raises(UserError, match=r"broken\.py.*\bint\b.*\bConfigDict\b"):
        load_config(broken)
    broken.write_text(
        "from adatad_jax.config import default\ndef get_config():\n  c = default()\n  c.data.rates = 3\n  return c\n"
    )
    with pytest.raises(UserError, match=r"broken\.py.*\brates\b"):
        load_config(broken)


def test_blocks_are_read_from_text() -> None:
    assert tia_blocks("all", 3) == (0, 1, 2)
    assert tia_blocks("0, 2,4-6", 8) == (0, 2, 4, 5, 6)


def test_help_lists_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.config_parser("Train.").parse_args(["--help"])
    text = capsys.readouterr().out
    assert all(f"--config.{name}=" in text for name in Config().flat())


def test_what_is_shown_of_a_run() -> None:
    config = load_config(CONFIGS / "thumos_s.py", ["--config.train.profile_steps=10,20"])
    assert config.train.profile_steps == (10, 20)
    with pytest.raises(UserError, match=r"config\.train\.log_steps=0.*at least 1 where train\.wandb=offline"):
        load_config(CONFIGS / "thumos_s.py", ["--config.train.log_steps=0", "--config.train.wandb=offline"])
