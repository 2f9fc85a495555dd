"""Trained detectors from runs, converted folders and checkpoints, and the commands that read them."""

import json
import re
import shutil
from pathlib import Path

import cv2
import flax.traverse_util
import numpy as np
import pytest
import torch

from adatad_jax import detect, evaluate
from adatad_jax.commands import export
from adatad_jax.config.fields import Config
from adatad_jax.conversion.torch_file import write_tensors
from adatad_jax.errors import UserError
from adatad_jax.training.history import write_history
from adatad_jax.training.parameters import merge
from adatad_jax.weights.convert_file import convert_file
from adatad_jax.weights.load import load_trained
from tests.conversion.release_detectors import BACKBONE, Release, behind_module, labels
from tests.tiny_videomae import videomae_state
from tests.weights.test_export import make_run

TIA = Release(adapters=(0, 1, 2))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return TIA.config(labels(tmp_path / "labels.txt", 3))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Writes a checkpoint of the release with both states."""
    path = tmp_path / "adatad.pth"
    states = {"state_dict": behind_module(TIA.state(0)), "state_dict_ema": behind_module(TIA.state(1))}
    torch.save(states, path)
    return path


def test_checkpoint_and_converted_folder_give_the_averages(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    averaged = TIA.state(1)
    for trained in (load_trained(checkpoint, config), load_trained(tmp_path / "flax")):
        backbone, head = trained.params["backbone"]["blocks_0_2"], trained.params["detector"]["head"]
        np.testing.assert_array_equal(
            backbone["attn"]["proj"]["kernel"][2], averaged[f"{BACKBONE}blocks.2.attn.proj.weight"].T
        )
        np.testing.assert_array_equal(head["boundary_tower"]["out"]["bias"], averaged["rpn_head.reg_head.bias"])
        assert trained.classes == ("class 0", "class 1", "class 2")
        assert trained.config.model.regression_ranges == config.model.regression_ranges
        assert "adatad.pth" in trained.origin


def test_settings_of_memory_are_those_of_the_device_that_trained(config: Config, tmp_path: Path) -> None:
    """Another device may read the run; what the command gives itself counts."""
    small = config.with_fields({"model.memory": 2.5, "model.remat": True, "model.attention_chunks": 1})
    make_run(tmp_path / "run", small, 3, normalizer=5)
    read = load_trained(tmp_path / "run").config.model
    assert (read.memory, read.remat, read.attention_chunks) == ("auto",) * 3
    assert load_trained(tmp_path / "run", small).config.model.memory == 2.5


def test_a_run_gives_the_averages_of_its_latest_epoch(config: Config, tmp_path: Path) -> None:
    state = make_run(tmp_path / "run", config, 3, normalizer=5)
    trained = load_trained(tmp_path / "run")
    leaves = flax.traverse_util.flatten_dict(trained.params, sep="/")
    for path, value in flax.traverse_util.flatten_dict(merge(state.trained, state.frozen), sep="/").items():
        is_trained = path.startswith("detector") or "/tia/" in path
        np.testing.assert_array_equal(leaves[path], value + is_trained, err_msg=path)
    assert (trained.name, trained.origin) == ("step 30, epoch 3", f"{tmp_path / 'run'}: step 30, epoch 3")
    write_history(tmp_path / "run", [{"epoch": 3, "step": 30, "average_mAP": 0.6903}])
    for step in (30, "best", "latest"):
        assert load_trained(tmp_path / "run", step=step).name == "step 30, epoch 3, average mAP 69.03"
    with pytest.raises(UserError, match=r"/run: .*\bstep 40\b.*: step 30, epoch 3"):
        load_trained(tmp_path / "run", step=40)
    config = config.with_fields({"data.stride": 8})
    with pytest.raises(UserError, match=r"data\.stride: .*\b4\b.*\b8\b"):
        load_trained(tmp_path / "run", config)


def test_a_hand_edited_configuration_is_refused_array_by_array(
    checkpoint: Path, config: Config, tmp_path: Path
) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    make_run(tmp_path / "run", config, 3, normalizer=5)
    for folder in (tmp_path / "flax", tmp_path / "run"):
        content = json.loads((folder / "config.json").read_text())
        content["config"]["model.tia_ratio"] = 0.5
        content["classes"].append("another")
        (folder / "config.json").write_text(json.dumps(content))
        with pytest.raises(UserError) as caught:
            load_trained(folder)
        message = str(caught.value)
        assert re.match(rf"{re.escape(str(folder))}: .*\b9 arrays\b", message)
        assert re.search(r"blocks_0_2/tia/up/kernel: .*\(3, 16, 64\).*\(3, 32, 64\)", message)
        assert re.search(r"class_tower/out/bias: .*\(3,\).*\(4,\)", message)
        content["config"]["model.dtype"] = "float99"
        (folder / "config.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"config\.model\.dtype='float99'"):
            load_trained(folder)
        content["config"]["model.colour"] = "red"
        (folder / "config.json").write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"config\.json: .*\bmodel\.colour\b"):
            load_trained(folder)


def test_a_configuration_of_another_model_is_refused(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    config = config.with_fields(
        {"model.dtype": "bfloat16", "data.stride": 8, "test.sigma": 0.1}
    )  # no fields that make the model
    assert load_trained(tmp_path / "flax", config).config.data.stride == 8
    config = config.with_fields({"model.attention_windows": (5,), "model.heads": 2})
    with pytest.raises(UserError) as caught:
        load_trained(tmp_path / "flax", config)
    assert re.search(r"config\.model\.attention_windows=\(5,\): .*\(0,\)", str(caught.value))
    assert re.search(r"config\.model\.heads=2: .*\b4\b", str(caught.value))
    assert "dtype" not in str(caught.value)


def test_another_class_list_is_refused(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    make_run(tmp_path / "run", config, 3, normalizer=5)
    Path(config.data.classes).write_text("class 1\nclass 0\nclass 2\n")
    for folder in (tmp_path / "flax", tmp_path / "run"):
        with pytest.raises(UserError, match=r"class 0, class 1, class 2\b.*class 1, class 0, class 2\b"):
            load_trained(folder, config)
    Path(config.data.classes).unlink()  # a folder needs no list
    assert load_trained(tmp_path / "flax", config).classes == ("class 0", "class 1", "class 2")


def test_what_is_no_trained_detector_is_refused(config: Config, tmp_path: Path) -> None:
    write_tensors(tmp_path / "videomae.pth", videomae_state(seed=0))
    convert_file(tmp_path / "videomae.pth", tmp_path / "weights")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/config.json").write_text('{"model_type": "videomae"}')
    shutil.copy(tmp_path / "videomae.pth", tmp_path / "hub/pytorch_model.bin")
    for path in (tmp_path / "videomae.pth", tmp_path / "weights", tmp_path / "hub"):
        with pytest.raises(UserError, match=rf"/{re.escape(path.name)}: .*\bbackbone\b.*--config\.weights"):
            load_trained(path)
    with pytest.raises(UserError, match=r"/nothing: .*\bno such file\b"):
        load_trained(tmp_path / "nothing")


def test_damage_is_named(checkpoint: Path, config: Config, tmp_path: Path) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    for path in (tmp_path / "flax/params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(UserError, match="flax: damaged"):
        load_trained(tmp_path / "flax")


@pytest.mark.parametrize("part", ["params", "ema", "passengers.safetensors", "conversion.json"])
def test_a_part_that_is_gone_is_missed(part: str, checkpoint: Path, config: Config, tmp_path: Path) -> None:
    """Without its averages it would be another detector, and without the unused tensors another file."""
    convert_file(checkpoint, tmp_path / "flax", config)
    path = tmp_path / "flax" / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match="flax: damaged"):
        load_trained(tmp_path / "flax")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Writes two short videos, and their annotations to anno.json beside the folder."""
    folder = tmp_path / "videos"
    folder.mkdir()
    database = {}
    for name in ("one", "two"):
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (48, 32))
        for index in range(60):
            writer.write(np.full((32, 48, 3), 4 * index, np.uint8))
        writer.release()
        segment = {"segment": [1, 3], "label": "class 1"}
        database[name] = {"subset": "validation", "duration": 6.0, "frame": 60, "annotations": [segment]}
    (tmp_path / "anno.json").write_text(json.dumps({"database": database}))
    return folder


def test_evaluate_and_detect_take_a_checkpoint(
    videos: Path, checkpoint: Path, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config.with_fields(
        {"published": 69.03, "data.videos": str(videos), "data.annotations": str(tmp_path / "anno.json")}
    )
    convert_file(checkpoint, tmp_path / "flax", config)
    evaluate.main(["--checkpoint", str(tmp_path / "flax"), "--workdir", str(tmp_path / "results")])
    out = capsys.readouterr().out
    assert "converted from adatad.pth" in out
    assert re.search(r"\bpublished\b.*\b69\.03\b", out)
    metrics = json.loads((tmp_path / "results/metrics.json").read_text())
    assert 0 <= metrics["average_mAP"] <= 1
    assert "adatad.pth" in metrics["checkpoint"]
    results = json.loads((tmp_path / "results/results.json").read_text())["results"]
    assert set(results) == {"one", "two"}

    detect.main(["--checkpoint", str(tmp_path / "flax"), "--output", str(tmp_path / "found"), str(videos / "one.mp4")])
    found = json.loads((tmp_path / "found/one.json").read_text())["detections"]
    # The same video through the same model: the same detections as in the evaluation.
    scores = sorted((row["score"] for row in results["one"]), reverse=True)
    np.testing.assert_allclose([row["score"] for row in found], scores, rtol=0, atol=1e-4)


def test_a_step_is_chosen_of_a_run_alone(
    checkpoint: Path, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert_file(checkpoint, tmp_path / "flax", config)
    make_run(tmp_path / "run", config, 3, normalizer=5)
    for path in (checkpoint, tmp_path / "flax"):
        with pytest.raises(UserError, match=rf"{path.name}: no run\b.*\(best\)"):
            load_trained(path, config, step="best")
    with pytest.raises(UserError, match=r"/flax: no run\b.*\(7\)"):
        export.main([str(tmp_path / "flax"), str(tmp_path / "out.safetensors"), "--step", "7"])
    export.main([str(tmp_path / "run"), str(tmp_path / "out.safetensors"), "--step", "30"])
    assert "/run: step 30, epoch 3" in capsys.readouterr().out
    video = tmp_path / "a.mp4"
    video.touch()
    run, out = ["--workdir", str(tmp_path / "run")], ["--output", str(tmp_path / "found"), str(video)]
    with pytest.raises(UserError, match=r"/run: no checkpoint of step 7; .*step 30\b"):
        detect.main([*run, *out, "--step", "7"])
    for text in ("-1", "1.5", "last"):
        with pytest.raises(SystemExit):
            detect.main([*run, *out, f"--step={text}"])
        assert re.search(rf'--step: "{text}".*\bbest\b.*\blatest\b', capsys.readouterr().err)


def test_usage(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for main, arguments, message in (
        (evaluate.main, [], r"error: .*--config\b.*--checkpoint\b.*--results\b"),
        (detect.main, ["--output", "out", "a.mp4"], r"error: .*--workdir\b.*--checkpoint\b.*\brequired\b"),
        (
            detect.main,
            ["--output", "o", "--workdir", "a", "--checkpoint", "b", "a.mp4"],
            r"error: .*--checkpoint: not allowed\b.*--workdir",
        ),
        (detect.main, ["--output", "o", "--workdir", "a", "--config.seed=1", "a.mp4"], "error: --config.*--checkpoint"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert re.search(message, capsys.readouterr().err)
    with pytest.raises(UserError, match=r"adatad\.pth: .*\bnone of the \d+ configurations\b.*--config=FILE"):
        detect.main(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "out"), "a.mp4"])
