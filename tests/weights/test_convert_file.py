"""Conversion of backbones and whole detectors: the choice of a configuration, and files that are refused."""

import json
import pickle
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from adatad_jax.conversion.dimensions import read_dimensions
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.errors import UserError
from adatad_jax.weights.choose_config import choose_config
from adatad_jax.weights.convert_file import convert_file, read_detector
from adatad_jax.weights.export import export
from adatad_jax.weights.load import published_configs
from tests.conversion.release_detectors import BACKBONE, Release, labels, shapes_alone, sinusoid
from tests.real_data import real_file
from tests.tiny_videomae import videomae_state

ROOT = Path(__file__).parents[2]
TIA = Release(adapters=(0, 1, 2))
SIZES = {
    "S": {"width": 384, "depth": 12, "mlp": 1536},
    "L": {"width": 1024, "depth": 24, "mlp": 4096},
    "g": {"width": 1408, "depth": 40, "mlp": 6144, "patch": 14, "grid": 16},
}


def published(size: str, adapters: range | None = None, **dimensions: int) -> Release:
    """Returns the dimensions of a published run's detector."""
    dims = {"grid": 14, "detector": 512, "stem": 2, "branch": 5, "classes": 20, **SIZES[size], **dimensions}
    ratio = dims.pop("ratio", 4)
    return Release(adapters=tuple(adapters or ()), hidden=dims["width"] // ratio, **dims)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a working folder that holds only the class lists of some data sets."""
    monkeypatch.chdir(tmp_path)
    for name, count in {"thumos14/category_idx": 20, "epic_kitchens/category_idx_noun": 293}.items():
        path = tmp_path / f"data/{name}.txt"
        path.parent.mkdir(parents=True)
        labels(path, count)
    return tmp_path


@pytest.mark.parametrize(
    ("release", "name"),
    [
        (published("S", range(12)), "thumos_s"),
        (published("L", range(24)), "thumos_l"),
        (published("L", range(24), classes=293), "epic_noun_l"),
        (published("g", range(20, 40)), "thumos_g_1536_224"),
        (published("S", side_adapters=6), "thumos_s_side"),
        (published("g", side_adapters=20, ratio=8), "thumos_g_1536_224_side"),
        (published("S", range(12), detector=256, classes=1), "activitynet_s"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_published_configuration_that_fits_is_taken(release: Release, name: str, data: Path) -> None:
    choice = choose_config(
        read_dimensions(shapes_alone(release), Path("a.pth")), Path("a.pth"), None, published_configs()
    )
    assert re.search(rf"\b{name}\.py\b.*\bonly\b", choice.words)
    assert len(choice.classes) == release.classes
    assert choice.classes[0] == ("class 0" if release.classes > 1 else "action")


@pytest.mark.parametrize(
    ("release", "names"),
    [
        (published("S"), ["thumos_s_frozen", "thumos_s_full"]),
        (
            published("g", range(20, 40), detector=256, classes=1),
            ["activitynet_g_224", "activitynet_g_224_internvideo", "activitynet_g_224_internvideo2"],
        ),
    ],
)
def test_several_that_fit_are_listed_and_none_is_taken(release: Release, names: list[str], data: Path) -> None:
    shown = read_dimensions(shapes_alone(release), Path("a.pth"))
    with pytest.raises(UserError, match=rf"a\.pth: .*\b{len(names)} configurations\b.*--config=FILE") as caught:
        choose_config(shown, Path("a.pth"), None, published_configs())
    listed = [Path(line.split()[0]).stem for line in str(caught.value).splitlines()[1:]]
    assert listed == names


def test_none_that_fits_says_what_the_file_shows(data: Path) -> None:
    shown = read_dimensions(shapes_alone(published("S", range(12), branch=6)), Path("a.pth"))
    with pytest.raises(UserError, match=r"a\.pth: .*\bnone of the \d+ configurations\b") as caught:
        choose_config(shown, Path("a.pth"), None, published_configs())
    assert re.search(r"\b6 branch blocks\b.*\b7 levels\b", str(caught.value))
    assert "--config=FILE" in str(caught.value)


def test_class_names_are_asked_for_with_their_number(data: Path) -> None:
    (data / "data/thumos14/category_idx.txt").unlink()
    shown = read_dimensions(shapes_alone(published("S", range(12))), Path("a.pth"))
    with pytest.raises(UserError, match=r"a\.pth: .*\b20 classes\b.*--config\.data\.classes=FILE\b.*\b20\b"):
        choose_config(shown, Path("a.pth"), None, published_configs())
    mine = labels(data / "mine.txt", 20)
    choice = choose_config(shown, Path("a.pth"), None, published_configs(), [f"--config.data.classes={mine}"])
    assert choice.config.data.classes == str(mine)


def test_a_list_of_another_length_is_refused(data: Path) -> None:
    shown = read_dimensions(shapes_alone(TIA), Path("a.pth"))
    config = TIA.config(labels(data / "mine.txt", 4))
    with pytest.raises(UserError, match=r"mine\.txt'.*\b4\b.*\b3 classes\b"):
        choose_config(shown, Path("a.pth"), config, ())
    config = config.with_fields({"data.classes": "", "data.annotations": str(data / "anno.json")})
    entry = {"subset": "training", "duration": 9, "frame": 90}
    segments = [{"segment": [1, 2], "label": label} for label in ("run", "jump", "Ambiguous", "dive")]
    (data / "anno.json").write_text(json.dumps({"database": {"v": {**entry, "annotations": segments}}}))
    assert choose_config(shown, Path("a.pth"), config, ()).classes == ("dive", "jump", "run")


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save({"state_dict_ema": TIA.state(0)}, path)
    return path


@pytest.fixture
def backbone_file(tmp_path: Path) -> Path:
    path = tmp_path / "videomae.pth"
    write_tensors(path, videomae_state(seed=0))
    return path


def test_folder_of_a_detector_holds_all_it_takes(detector_file: Path, tmp_path: Path) -> None:
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    summary = convert_file(detector_file, tmp_path / "out", config)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"params", "config.json", "conversion.json", "passengers.safetensors"}
    saved = json.loads((tmp_path / "out/config.json").read_text())
    assert saved["classes"] == ["class 0", "class 1", "class 2"]
    assert saved["config"]["model.width"] == 16
    record = json.loads((tmp_path / "out/conversion.json").read_text())
    assert record["states"] == ["state_dict_ema"]
    assert record["account"] in summary
    with pytest.raises(UserError, match=r"/out: .*\bexists\b"):
        convert_file(detector_file, tmp_path / "out", config)
    with pytest.raises(UserError, match=r"/out: .*\bconverted\b.*--checkpoint="):
        convert_file(tmp_path / "out", tmp_path / "again")


def test_dry_run_counts_everything_and_writes_nothing(detector_file: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    summary = convert_file(detector_file)
    assert sorted(tmp_path.rglob("*")) == before
    shapes = TIA.shapes()
    unused = ("pos_embed", "fc_norm", "loss_normalizer")
    size = sum(int(np.prod(shape)) for key, shape in shapes.items() if not any(part in key for part in unused))
    assert re.search(r"\btiny\b.*\bwidth 64\b.*\bdepth 3\b.*\bMLP 256\b.*\bpatch 16\b.*\b32 px", summary)
    assert f" {len(shapes) - 4} tensors, {size:,} parameters" in summary
    assert "adapters: 27 tensors" in summary  # 9 in each block
    assert re.search(r"^config .*\bnone of the 0 configurations\b", summary, re.MULTILINE)
    assert "rpn_head.loss_normalizer: 100" in summary


def test_dry_run_with_a_configuration_that_does_not_fit_fails(detector_file: Path, tmp_path: Path) -> None:
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    config = config.with_fields({"model.stem": 2})
    with pytest.raises(UserError, match=r"config\.model\.stem=2: .*\b1\b"):
        convert_file(detector_file, None, config)


def test_backbones_are_told_apart(backbone_file: Path, tmp_path: Path) -> None:
    assert "mmaction VideoMAE" in convert_file(backbone_file)
    with pytest.raises(UserError, match=r"videomae\.pth: .*\bbackbone\b.*--config\b"):
        convert_file(backbone_file, tmp_path / "out", TIA.config())
    assert not (tmp_path / "out").exists()


class Malicious:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "truncated"),
        ("pickle", r"\bcode\b.*\(.*\)"),
        ("text", r"\bnot a PyTorch checkpoint\b"),
        ("nan", r"state_dict_ema: projection\.stem\.0\.ln1\.weight"),
        ("missing", r"missing: projection\.stem\.0\.ln1\.weight\b.*\bstate_dict_ema\b"),
        ("shape", r"shape: projection\.stem\.0\.ln1\.weight\b.*\(17,\).*\(16,\)"),
        ("mixed sizes", r"shape: backbone\.model\.backbone\.blocks\.2\.mlp\.layers\.1\.weight\b.*\(384, 1536\)"),
        ("averages of another model", r"missing: neck\.fpn_norms\.2\.bias\b.*\bstate_dict_ema\b"),
        ("absent", "no such file"),
    ],
)
def test_bad_files_are_refused_by_name_and_leave_nothing(
    kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, key = tmp_path / "bad.pth", "projection.stem.0.ln1.weight"
    state, averaged = TIA.state(0), TIA.state(1)
    if kind == "nan":
        averaged[key][3] = np.nan
    elif kind == "missing":
        del averaged[key]
    elif kind == "shape":
        state[key] = torch.zeros(17)
    elif kind == "mixed sizes":
        state |= {k: v for k, v in published("S").state(0).items() if ".blocks.2." in k}
    elif kind == "averages of another model":
        averaged = Release(adapters=(0, 1, 2), branch=1).state(1)
    torch.save({"state_dict": state, "state_dict_ema": averaged}, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:50_000])
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Malicious()}, protocol=2))
    elif kind == "absent":
        path.unlink()
    config = TIA.config(labels(tmp_path / "labels.txt", 3))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as caught:
        convert_file(path, tmp_path / "out", config)
    assert str(caught.value).startswith(str(path))
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("ran").exists()


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = real_file("weights/legacy_module_prefix.pth")
    with pytest.raises(UserError, match=r"legacy_module_prefix\.pth: .*\bnot a VideoMAE\b"):
        convert_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def script(name: str, *arguments: str | Path) -> None:
    """Runs a script of convert/ in this process, as from the command line."""
    before = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / "convert" / name), run_name="__main__")
    finally:
        sys.argv = before


def test_commands_there_and_back(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Converts a file like the released ones, with averages only, of THUMOS-14 with VideoMAE-S, and exports it."""
    state = {f"module.{key}": torch.zeros(shape) for key, shape in published("S", range(12)).shapes().items()}
    state[f"module.{BACKBONE}pos_embed"] = sinusoid(1568, 384)
    torch.save({"state_dict_ema": state}, data / "adatad_s.pth")
    script("pth_to_flax.py", "adatad_s.pth", "--dry-run")
    out = capsys.readouterr().out
    assert re.search(r"\bthumos_s\.py\b.*\bonly\b", out)
    assert re.search(r"\b499 tensors\b.*\bstate_dict_ema\b", out)
    # Worked out by hand: VideoMAE-S less its unused norm, adapters, projection, neck, head.
    assert f"{21_879_936 - 2 * 384 + 1_006_860 + 26_695_708:,} parameters" in out
    script("pth_to_flax.py", "adatad_s.pth", "flax")
    script("flax_to_pth.py", "flax", "back.pth")
    back = torch.load(data / "back.pth", weights_only=True, mmap=True)
    assert back["state_dict"].keys() == back["state_dict_ema"].keys() == state.keys()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_for_pytorch_knows_its_classes(suffix: str, detector_file: Path, tmp_path: Path) -> None:
    """An exported file needs no configuration, and a given one must not contradict it."""
    mine = labels(tmp_path / "mine.txt", 3)
    config, back = TIA.config(mine), tmp_path / f"back{suffix}"
    convert_file(detector_file, tmp_path / "flax", config)
    export(tmp_path / "flax", back)
    mine.unlink()
    for given in (None, config):
        _, choice = read_detector(back, given, ())
        assert choice.classes == ("class 0", "class 1", "class 2")
        assert choice.config == config
    labels(tmp_path / "mine.txt", 3).write_text("a\nb\nc\n")
    with pytest.raises(UserError, match=r"class 0, class 1, class 2\b.*\ba, b, c\b"):
        read_detector(back, config, ())
    with pytest.raises(UserError, match=rf"--config\.seed=1: .*{re.escape(back.name)}.*--config\b"):
        read_detector(back, None, (), ["--config.seed=1"])


@pytest.mark.parametrize("record", ["{", '{"config": 3, "classes": []}', '{"config": {}}', 7])
def test_a_record_of_somebody_else_is_refused(record: object, tmp_path: Path) -> None:
    torch.save({"state_dict": TIA.state(0), "adatad_jax": record}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r'a\.pth: .*"adatad_jax"'):
        convert_file(tmp_path / "a.pth", None, TIA.config())


def test_a_missing_output_is_a_usage_error(detector_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        script("pth_to_flax.py", detector_file)
    assert caught.value.code == 2
    assert re.search(r"error: .*\bOUTPUT\b.*--dry-run", capsys.readouterr().err)


def test_errors_are_a_message_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, message in (("pth_to_flax.py", "no such file"), ("flax_to_pth.py", "no run")):
        with pytest.raises(SystemExit) as caught:
            script(name, tmp_path / "nothing", tmp_path / "out.pth")
        assert caught.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {tmp_path / 'nothing'}: ")
        assert message in err


def test_no_script_hides_a_standard_module() -> None:
    """Python puts a script's folder first on its path."""
    names = {path.stem for path in (ROOT / "convert").glob("*.py")}
    assert names == {"pth_to_flax", "flax_to_pth"}
    assert not names & sys.stdlib_module_names
