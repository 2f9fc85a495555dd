"""Hand-made evaluations, and a reader of pages."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from adatad_jax.analysis.analyse import Analysis
from adatad_jax.analysis.false_positives import FalsePositives
from adatad_jax.analysis.sensitivity import Sensitivity
from adatad_jax.evaluation.mean_ap import Metrics
from adatad_jax.postprocessing.detections import Detections
from adatad_jax.report.evaluated import Evaluated

HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">'\" 跳水"
TIOUS = (0.3, 0.5)


def made(classes: tuple[str, ...] = ("jump", HOSTILE)) -> Evaluated:
    """Makes an evaluation of two videos of 20 and 10 s; no figure is computed by the package."""
    count = len(classes)
    per_class = np.zeros((count, 2))
    per_class[:2] = [[0.9, 0.7], [0.5, 0.1]]
    confusion = np.zeros((count, count + 1), int)
    confusion[:, -1] = 1
    confusion[:2] = 0
    confusion[0, 0], confusion[0, 1], confusion[1, -1] = 3, 1, 2
    ranks = np.zeros((10, 6))
    ranks[0] = [0.5, 0.25, 0, 0.25, 0, 0]
    analysis = Analysis(
        tiou=0.5,
        false_positives=FalsePositives(0.5, np.array([3, 4, 0, 2, 1, 0]), ranks, np.array([0.02, 0, 0.1234, 0.01, 0])),
        average_map_n=0.4,
        sensitivities=(
            buckets("length", edges=[0, 1.5, 12], segments=[4, 2], map_n=[0.25, 0.5], missed=[0.5, 0]),
            buckets("instances", edges=[0, 1, 5], segments=[1, 5], map_n=[0.6, 0.3], missed=[0, 0.4]),
        ),
        confusion=confusion,
        video_ap={"good": 1.0, "bad": 0.25},
        curves=np.linspace(1, 0, 101)[None].repeat(count, 0),
        classes=classes,
    )
    return Evaluated(
        title=f"title {HOSTILE}",
        origin="made by hand",
        subset="validation",
        metrics=Metrics(TIOUS, classes, per_class, per_class.mean(axis=0), 6, 0, 10, 0, 0),
        recall={"AR@100": 0.625},
        published=50.0,
        truth={
            "good": (np.array([[2.0, 7.0], [10.0, 15.0]]), np.array([0, 0])),
            "bad": (np.array([[1.0, 2.0], [4.0, 6.0]]), np.array([1, 0])),
        },
        results={
            "good": Detections([[2, 7], [10, 14], [3, 5]], [0.9, 0.8, 0.5], [0, 0, 0]),  # type: ignore[arg-type]
            "bad": Detections([[4, 9], [1, 1.2]], [0.83, 0.4], [0, 1]),  # type: ignore[arg-type]
        },
        classes=classes,
        durations={"good": 20.0, "bad": 10.0},
        analysis=analysis,
        files={},
        notes=("3 detections of an unknown video were ignored",),
    )


def buckets(quantity: str, **columns: list[float]) -> Sensitivity:
    return Sensitivity(quantity, ("S", "L"), **{name: np.array(values) for name, values in columns.items()})


def with_files(evaluated: Evaluated, **files: Path) -> Evaluated:
    return replace(evaluated, files=files)


class Page(HTMLParser):
    """The elements of a page: (tag, attributes, text inside), in the order they start."""

    VOID = ("meta", "link", "img", "source", "br")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self._open, f"left open: {[tag for tag, _ in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.elements.append((tag, {name: value or "" for name, value in attrs}, words))
        if tag not in self.VOID:
            self._open.append((tag, words))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for _, words in self._open:
            words.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """Returns the text of each element with this tag and these attributes, with single blanks as white space."""
        return [
            " ".join("".join(words).split())
            for found, attrs, words in self.elements
            if found == tag and attributes.items() <= attrs.items()
        ]

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attrs[name] for found, attrs, _ in self.elements if found == tag and name in attrs]
