"""Output paths: all under one folder, never overwriting files that `detect` did not write."""

import json
from pathlib import Path

import pytest

from adatad_jax.errors import UserError
from adatad_jax.files import partial_path
from adatad_jax.outputs.targets import ANNOTATED, WRITTEN, Job, claimed, clear, is_done, plan


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_files_and_folders_become_jobs_in_order(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "b.mp4", "a.MKV", "deep/er/a.mov", "notes.txt", ".hidden.mp4", "a.annotated.mp4")
    single, out = Path("nowhere/one.two.avi"), tmp_path / "out"
    assert plan([single, folder, single], out) == [
        Job(single, out / "one.two"),
        Job(folder / "a.MKV", out / "a"),
        Job(folder / "b.mp4", out / "b"),
        Job(folder / "deep/er/a.mov", out / "deep/er/a"),
    ]
    assert Job(single, out / "one.two").file(".json") == out / "one.two.json"


def test_a_video_given_twice_is_one_job_and_none_is_passed_over(tmp_path: Path) -> None:
    folder, out = touch(tmp_path / "in", "a.mp4"), tmp_path / "out"
    (folder / "gone.mp4").symlink_to("nowhere")
    (folder / "folder.mp4").mkdir()
    given = [folder / "a.mp4", folder, folder / "../in/a.mp4"]
    assert plan(given, out) == [Job(folder / "a.mp4", out / "a"), Job(folder / "gone.mp4", out / "gone")]
    assert len(plan([Path("x" * 300)], out)) == 1  # the system refuses such a name; `detect` reports it


def test_videos_of_one_name_keep_their_extensions(tmp_path: Path) -> None:
    folder = touch(tmp_path, "a.mp4", "a.avi", "b.mp4")
    assert [job.base.name for job in plan([folder], tmp_path / "out")] == ["a.avi", "a.mp4", "b"]


def test_what_would_be_written_twice_is_refused(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "one", "a.mp4") / "a.mp4", touch(tmp_path / "two", "a.mp4") / "a.mp4"
    with pytest.raises(UserError, match=r"one/a\.mp4, .*two/a\.mp4"):
        plan([one, two], tmp_path / "out")
    with pytest.raises(UserError, match=r"/empty: .*\bno video\b.*\.mp4\b"):
        plan([touch(tmp_path / "empty", "a.txt")], tmp_path / "out")


def test_a_job_is_done_when_all_is_there_and_was_made_alike(tmp_path: Path) -> None:
    job, header = Job(Path("a.mp4"), tmp_path / "a"), {"detector": "d", "top": None}
    assert not is_done(job, header, WRITTEN)
    touch(tmp_path, *(f"a{suffix}" for suffix in WRITTEN))
    (tmp_path / "a.json").write_text(json.dumps({**header, "detections": []}))
    assert is_done(job, header, WRITTEN)
    assert not is_done(job, {**header, "top": 3}, WRITTEN)
    assert not is_done(job, header, (*WRITTEN, ".annotated.mp4"))
    (tmp_path / "a.png").unlink()
    assert not is_done(job, header, WRITTEN)


@pytest.mark.parametrize("content", [None, "[1]", "{", '{"my": "notes"}'])
def test_files_of_somebody_else_are_not_written_over(tmp_path: Path, content: str | None) -> None:
    touch(tmp_path, "a.srt")
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"/a\.(srt|json): exists\b.*\bnot written by detect\b.*--output"):
        is_done(Job(Path("a.mp4"), tmp_path / "a"), {}, WRITTEN)


def test_an_annotated_video_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    touch(tmp_path, f"a{ANNOTATED}")
    with pytest.raises(UserError, match=r"/a\.annotated\.mp4: exists\b.*\bnot written by detect\b.*--output"):
        is_done(Job(Path("a.mp4"), tmp_path / "a"), {}, WRITTEN)


def test_results_of_another_video_are_not_written_over(tmp_path: Path) -> None:
    job, before = Job(Path("a.mp4"), tmp_path / "a"), {"detector": "d", "video": "/x/a.mp4", "bytes": 1, "modified": 2}
    (tmp_path / "a.json").write_text(json.dumps(before))
    with pytest.raises(UserError, match=r"a\.json: .* another video, /x/a\.mp4"):
        is_done(job, {**before, "video": "/y/a.mp4", "bytes": 3}, WRITTEN)
    assert not is_done(job, {**before, "video": "/y/a.mp4"}, WRITTEN), "it was moved"
    assert not is_done(job, {**before, "bytes": 3}, WRITTEN), "it was changed"


def test_a_job_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    job = Job(Path("a.mp4"), tmp_path / "deep/a")
    with claimed(job) as ours, claimed(job) as again, claimed(Job(Path("b.mp4"), tmp_path / "deep/b")) as other:
        assert (ours, again, other) == (True, False, True)
    with claimed(job) as ours:
        assert ours
    assert not list((tmp_path / "deep").iterdir())
    touch(tmp_path, "file")
    with (
        pytest.raises(UserError, match=r"^a\.mp4: .*\bcannot be written\b.*/file/a "),
        claimed(Job(Path("a.mp4"), tmp_path / "file/a")),
    ):
        pass


def test_what_is_made_anew_is_removed_but_for_the_mark(tmp_path: Path) -> None:
    job = Job(Path("a.mp4"), tmp_path / "a")
    touch(tmp_path, *(f"{name}{suffix}" for name in ("a", "a.b") for suffix in (*WRITTEN, ANNOTATED)))
    partial_path(job.file(".png")).write_text("half")
    clear(job)
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.json",
        *(f"a.b{suffix}" for suffix in (*WRITTEN, ANNOTATED)),
    }


def test_two_forms_of_one_name_are_refused_and_no_two_jobs_share_files(tmp_path: Path) -> None:
    folder = touch(tmp_path / "dots", "a.mp4", "a.avi", "a.mp4.mp4", "b.c.MTS")
    assert [job.base.name for job in plan([folder], tmp_path / "out")] == ["a.avi", "a.mp4", "a.mp4.mp4", "b.c"]
    folder = touch(tmp_path / "forms", "Caf\u00e9.mp4", "Cafe\u0301.mp4")
    if len(list(folder.iterdir())) == 2:  # some file systems take the two for one
        with pytest.raises(UserError, match=r"Cafe\\u0301\.mp4.*/Café\.mp4"):
            plan([folder], tmp_path / "out")


def test_what_cameras_write_is_found_in_folders_at_any_depth_and_behind_links(tmp_path: Path) -> None:
    store = touch(tmp_path / "store", "00001.MTS", "MVI_2.3gp", "clip.m2ts", "a.gif", "b.gif", "b.mp4")
    folder = touch(tmp_path / "in", "x.vob")
    (folder / "card").symlink_to(store)
    assert [str(job.base.relative_to(tmp_path)) for job in plan([folder], tmp_path / "out")] == [
        *("out/card/00001", "out/card/MVI_2", "out/card/a", "out/card/b", "out/card/clip", "out/x")
    ]
