"""The videos of a subset: how often the annotation file is read for them."""

import json
from pathlib import Path

import pytest

from adatad_jax.config.fields import Config
from adatad_jax.data.subset import annotated_subset, load_classes


def write(path: Path, labels: list[str]) -> None:
    """Writes annotations of a training and a validation video."""
    segments = [{"segment": [1, 2], "label": label} for label in labels]
    entry = {"duration": 10.0, "frame": 300, "annotations": segments}
    database = {name: {"subset": name, **entry} for name in ("training", "validation")}
    path.write_text(json.dumps({"database": database}))


def test_a_file_is_read_once_for_its_format_its_lengths_its_classes_and_all_subsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "annotations.json"
    (tmp_path / "videos").mkdir()
    config = Config().with_fields({"data.annotations": str(path), "data.videos": str(tmp_path / "videos")})
    read: list[Path] = []
    read_bytes = Path.read_bytes

    def counted(file: Path) -> bytes:
        read.append(file)
        return read_bytes(file)

    monkeypatch.setattr(Path, "read_bytes", counted)
    write(path, ["dive", "jump"])
    classes = load_classes(config)
    assert classes == ("dive", "jump")
    for subset in ("training", "validation"):
        found = annotated_subset(config, subset, classes, training=False)
        assert [labels.tolist() for _, labels in found.truth.values()] == [[0, 1]]
    assert read == [path]
    write(path, ["dive", "jump", "swim"])
    assert load_classes(config) == ("dive", "jump", "swim")
    assert read == [path, path]
