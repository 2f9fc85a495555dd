"""Evaluation of a class-agnostic model on whole resized videos in real files, with another model's class scores."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console

from adatad_jax.config.build import make_detector
from adatad_jax.config.fields import Config
from adatad_jax.data.dataset import TrainingWindows
from adatad_jax.data.loader import training_batch
from adatad_jax.data.subset import load_classes, load_subset
from adatad_jax.demo.dataset import generate
from adatad_jax.devices.launch import Launch
from adatad_jax.devices.meeting import meet
from adatad_jax.devices.processes import Processes
from adatad_jax.errors import UserError
from adatad_jax.evaluation.summary import RESULTS_FILE, write_results
from adatad_jax.inference.predictor import Predictor
from adatad_jax.inference.test_set import load_evaluation
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.sizes import ViTConfig
from adatad_jax.postprocessing.detections import Detections
from tests.processes import free_port

SCORED = ("Clap", "Dive", "Jump")  # the classifier's classes
BEST = {"test_000": ("Dive", "Jump"), "test_001": ("Jump", "Clap")}  # by falling score, 0.75 and 0.25
CONSOLE = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes videos with annotations like ActivityNet's: files have a prefix, and there are no frame counts."""
    path = tmp_path_factory.mktemp("data")
    generate(path, seed=0, train_videos=2, test_videos=2, seconds=(3.0, 6.0), workers=1)
    for video in (path / "videos").iterdir():
        video.rename(video.with_name(f"v_{video.name}"))
    content = json.loads((path / "annotations.json").read_text())
    for name, entry in content["database"].items():
        del entry["frame"]
        for annotation in entry["annotations"]:
            annotation["label"] = BEST.get(name, ("Swim",))[0]
    (path / "annotations.json").write_text(json.dumps(content))
    scores = {
        name: [0.75 if label == first else 0.25 if label == second else 0.0 for label in SCORED]
        for name, (first, second) in BEST.items()
    }
    (path / "scores.json").write_text(json.dumps({"results": scores, "class": SCORED}))
    return path


@pytest.fixture
def config(folder: Path) -> Config:
    return make_config(folder)


def make_config(folder: Path) -> Config:
    config = Config()
    fields: dict[str, Any] = {
        "data.videos": str(folder / "videos"),
        "data.video_prefix": "v_",
        "data.retries": 0,
        "data.annotations": str(folder / "annotations.json"),
        "data.class_agnostic": True,
        "data.sampling": "resize",
        "data.window": 16,
        "data.frames_per_position": 2,
        "data.train_short_side": 40,
        "data.test_short_side": 32,
        "data.crop": 32,
        "model.max_length": 32,  # as for Ego4D: the model pads windows
        "model.width": 16,
        "model.branch": 1,
        "model.stem": 1,
        "model.regression_ranges": ((0, 8), (8, 10000)),
        "train.batch_size": 2,
        "test.batch_size": 1,
        "test.max_seg_num": 10,
        "test.multiclass": False,
        "test.voting_thresh": 0.9,
        "test.classifier": str(folder / "scores.json"),
        "test.classifier_topk": 2,
    }
    return config.with_fields(fields)


def make_predictor(config: Config) -> Predictor:
    """Makes a small model with random parameters."""
    vit = ViTConfig(16, depth=1, heads=2, mlp_hidden=32, image_size=32, tia_blocks=(0,), tia_hidden=4)
    model = AdaTAD(vit, make_detector(config, len(load_classes(config))))
    frames, mask = np.zeros((1, 32, 32, 32, 3), np.uint8), np.ones((1, 16), bool)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), shapes)
    return Predictor(model, params, config.test.batch_size)


def test_a_batch_holds_whole_videos_of_one_class(config: Config) -> None:
    windows = TrainingWindows(load_subset(config, "training", load_classes(config), training=True), config)
    batch = training_batch([windows.load(0, index) for index in range(2)], config, windows.segment_rows)
    assert batch.frames.shape == (2, 32, 32, 32, 3)
    assert batch.mask.shape == (2, 16)
    assert batch.mask.all()
    real = batch.labels >= 0
    assert real.any(axis=1).all()
    assert set(batch.labels[real]) == {0}
    assert (batch.segments[real][:, 0] < batch.segments[real][:, 1]).all()
    assert batch.segments.max() <= 16


def test_detections_carry_the_names_of_their_videos_classes(config: Config, tmp_path: Path) -> None:
    evaluation = load_evaluation(config, load_classes(config))
    results = evaluation.detect(make_predictor(config), CONSOLE)
    metrics = evaluation.measure(results)
    assert metrics.classes == ("Dive", "Jump")
    assert metrics.detections == 40 - 10  # 10 per video and class; "Clap" is no class of the annotations
    write_results(tmp_path, results, evaluation.classes)
    written = json.loads((tmp_path / RESULTS_FILE).read_text())["results"]
    durations = {name: video.duration for name, video in evaluation.windows.videos.items()}
    assert set(written) == set(BEST)
    for name, entries in written.items():
        # All segments as the best class, then the same segments as the second: 0.75 and 0.25 of the model's scores.
        first, second = entries[:10], entries[10:]
        assert {entry["label"] for entry in first} == {BEST[name][0]}
        assert {entry["label"] for entry in second} == {BEST[name][1]}
        assert [entry["segment"] for entry in first] == [entry["segment"] for entry in second]
        for one, two in zip(first, second, strict=True):
            assert abs(one["score"] - 3 * two["score"]) <= 2e-4  # both are rounded to 4 decimals
        assert all(0 <= start <= end <= durations[name] + 0.005 for start, end in (e["segment"] for e in entries))


def test_a_video_that_breaks_in_its_middle_ends_the_evaluation_or_is_skipped(
    config: Config, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The start of the file decodes, so the video passes the check before."""
    shutil.copytree(folder / "videos", tmp_path / "videos")
    config = config.with_fields({"data.videos": str(tmp_path / "videos")})
    path = tmp_path / "videos" / "v_test_001.mp4"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) * 3 // 4] = bytes(len(content) * 3 // 4 - len(content) // 2)
    path.write_bytes(bytes(content))
    evaluation, predictor = load_evaluation(config, load_classes(config)), make_predictor(config)
    with pytest.raises(UserError, match=r"v_test_001\.mp4"):
        evaluation.detect(predictor, CONSOLE)

    config = config.with_fields({"data.skip_broken": True})
    caplog.clear()
    results = load_evaluation(config, load_classes(config)).detect(predictor, CONSOLE)
    assert set(results) == {"test_000"}
    assert sum("skipped" in one.message and "v_test_001.mp4" in one.message for one in caplog.records) == 1
    assert evaluation.measure(results).segments == sum(len(segments) for segments, _ in evaluation.truth.values())


@pytest.mark.parametrize(("labels", "expected"), [("best", 1.0), ("second", 0.0)])
def test_the_classifier_decides_what_counts(config: Config, labels: str, expected: float, tmp_path: Path) -> None:
    """The annotated segments themselves, without classes, count only if the classifier is right."""
    scores = json.loads(Path(config.test.classifier).read_text())
    if labels == "second":
        scores["results"] = {name: [row[0], row[2], row[1]] for name, row in scores["results"].items()}
        scores["results"]["test_001"] = [0.0, 1.0, 0.0]
        config = config.with_fields({"test.classifier": str(tmp_path / "wrong.json")})
        Path(config.test.classifier).write_text(json.dumps(scores))
    config = config.with_fields({"test.classifier_topk": 1})
    evaluation = load_evaluation(config, load_classes(config))
    assert evaluation.classifier is not None
    found = {}
    for name, video in evaluation.windows.videos.items():
        segments = video.segments
        agnostic = Detections(segments, np.full(len(segments), 0.5), np.zeros(len(segments)))
        found[name] = evaluation.classifier.classify(name, agnostic)
    assert evaluation.measure(found).average_map == expected


def test_what_could_only_score_zero_is_refused(config: Config, folder: Path, tmp_path: Path) -> None:
    classes = load_classes(config)
    config = config.with_fields({"test.classifier": ""})
    with pytest.raises(UserError, match=r"\bclass-agnostic\b(.|\n)*\b2\b(.|\n)*config\.test\.classifier"):
        load_evaluation(config, classes)
    config = config.with_fields({"test.classifier": str(tmp_path / "scores.json"), "test.classifier_topk": 1})
    Path(config.test.classifier).write_text(json.dumps({"results": {"test_000": [1]}, "class": ["Dive"]}))
    with pytest.raises(UserError, match=r"1 of 2 videos(.|\n)*test_001"):
        load_evaluation(config, classes)


def test_annotations_without_classes_need_no_classifier(config: Config, folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "annotations.json").read_text())
    for entry in content["database"].values():
        for annotation in entry["annotations"]:
            annotation["label"] = "action"
    config = config.with_fields({"data.annotations": str(tmp_path / "annotations.json")})
    Path(config.data.annotations).write_text(json.dumps(content))
    config = config.with_fields({"test.classifier": ""})
    evaluation = load_evaluation(config, load_classes(config))
    assert evaluation.classifier is None
    assert evaluation.classes == ("action",)


def test_processes_that_share_the_videos_all_get_the_same_detections(config: Config) -> None:
    """Two threads with links stand for the processes."""
    evaluation, predictor = load_evaluation(config, load_classes(config)), make_predictor(config)
    alone = evaluation.detect(predictor, CONSOLE)
    address = f"localhost:{free_port()}"

    def detect(index: int) -> dict[str, Detections]:
        links = meet(Launch("a test", address, 2, index), 60.0, 0.0)
        found = evaluation.detect(make_predictor(config), CONSOLE, Processes(index, 2, links))
        links.close()
        return found

    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(detect, (0, 1)))
    for found in shared:
        assert list(found) == list(alone)
        for name, one in alone.items():
            assert len(one) > 0
            for field in ("segments", "scores", "labels"):
                np.testing.assert_array_equal(getattr(found[name], field), getattr(one, field))
