"""A job does each picture once, whatever happens: bad ones, kills, changes, several runs; and undoes what it did."""

import errno
import json
import os
import random
import threading
from contextlib import suppress

import pytest
from batch_fakes import ReadingCaptioner

from captioner.batch.changes import Journal, undo
from captioner.batch.failures import RETRIES
from captioner.batch.job import Plan, run_job
from captioner.batch.lock import locked
from captioner.batch.sinks.json_lines import JsonLinesSink
from captioner.batch.sinks.metadata import MetadataSink
from captioner.batch.sinks.own_files import JOURNAL
from captioner.batch.sinks.registry import Output, make_sink
from captioner.batch.sinks.sidecar import SidecarSink
from captioner.batch.sources import FilesSource, FolderSource, SeveralSources
from captioner.batch.walk import Which
from captioner.errors import CaptionerError
from captioner.metadata.splice import Splice
from captioner.runtime.captioner import BATCH


@pytest.fixture
def folder(tmp_path):
    """Fifty pictures, of which two are bad."""
    home = tmp_path / "pictures"
    (home / "sub").mkdir(parents=True)
    for number in range(50):
        place = home / "sub" if number % 3 == 0 else home
        (place / f"{number:03}.jpg").write_text(f"{'bad' if number in (7, 30) else 'picture'} {number}")
    return home


def job(folder, sink, captioner=None, **plan):
    return run_job(FolderSource(folder, Which()), captioner or ReadingCaptioner(), sink, Plan(**plan))


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_bad_picture_never_stops_the_job_and_is_logged_with_its_reason(folder, tmp_path):
    out, told = tmp_path / "out.jsonl", []
    summary = job(folder, JsonLinesSink(out), tell=told.append)
    assert (summary.captioned, summary.failed.total(), summary.status) == (48, 2, 1)
    paths = [each["path"] for each in lines(out)]
    assert paths == sorted(paths, key=lambda path: ("/" in path, path))  # the order of the source
    assert all(each["caption"] == f"picture {int(each['path'][-7:-4])}" for each in lines(out))
    failed = lines(tmp_path / "out.jsonl.failures.jsonl")
    assert {(each["path"], each["error"]["code"]) for each in failed} == {
        ("007.jpg", "corrupt"),
        ("sub/030.jpg", "corrupt"),
    }
    assert len(told) == 2
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.jsonl.failures.jsonl"]


def test_a_second_run_asks_for_nothing_and_still_says_that_some_failed(folder, tmp_path):
    job(folder, JsonLinesSink(tmp_path / "out.jsonl"))
    before = (tmp_path / "out.jsonl").read_bytes()
    captioner = ReadingCaptioner()
    summary = job(folder, JsonLinesSink(tmp_path / "out.jsonl"), captioner)
    assert captioner.asked == []
    assert (summary.captioned, summary.there, summary.failed_before, summary.status) == (0, 48, 2, 1)
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_job_stopped_again_and_again_gives_what_an_unbroken_one_gives(folder, tmp_path):
    job(folder, JsonLinesSink(tmp_path / "whole.jsonl"))
    chance, asked, repeated = random.Random(0), [], []
    for _ in range(200):
        captioner = ReadingCaptioner(stop_after=chance.randint(0, 20))
        try:
            job(folder, JsonLinesSink(tmp_path / "out.jsonl"), captioner)
            break
        except KeyboardInterrupt:
            with (tmp_path / "out.jsonl").open("ab") as file:
                file.write(b'{"path": "half'[: chance.randint(0, 14)])
        finally:
            repeated.append(len(set(captioner.asked) & set(asked)))
            asked += captioner.asked
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(lines(tmp_path / "out.jsonl.failures.jsonl")) == 2
    assert set(asked) == {str(path) for path in folder.rglob("*.jpg")}
    assert 0 < max(repeated) <= BATCH  # what was not written yet when it was stopped, and no more


def test_failures_are_tried_again_when_asked_or_when_the_file_is_another_one(folder, tmp_path):
    out = tmp_path / "out.jsonl"

    class Locked(ReadingCaptioner):
        """Finds one file locked."""

        def iter_results(self, pictures, **options):
            for result, source in zip(super().iter_results(kept := list(pictures)), kept, strict=True):
                yield CaptionerError("locked", code="unreadable") if source.path.name == "001.jpg" else result

    job(folder, JsonLinesSink(out), Locked())
    asked = {}
    for retry in RETRIES[:2]:
        captioner = ReadingCaptioner()
        summary = job(folder, JsonLinesSink(out), captioner, retry=retry)
        asked[retry] = [os.path.basename(name) for name in captioner.asked]  # noqa: PTH119
    assert asked == {"changed": [], "temporary": ["001.jpg"]}
    assert (summary.captioned, summary.failed_before) == (1, 2)
    (folder / "007.jpg").write_text("mended 7")
    captioner = ReadingCaptioner()
    assert job(folder, JsonLinesSink(out), captioner).captioned == 1
    captioner = ReadingCaptioner()
    summary = job(folder, JsonLinesSink(out), captioner, retry="all")
    assert [os.path.basename(name) for name in captioner.asked] == ["030.jpg"]  # noqa: PTH119
    assert summary.failed == {"corrupt": 1}
    (folder / "sub" / "030.jpg").write_text("mended 30, and longer")
    assert job(folder, JsonLinesSink(out)).status == 0
    assert not (tmp_path / "out.jsonl.failures.jsonl").exists()


def test_a_picture_that_fails_again_as_another_one_is_in_the_log_once(folder, tmp_path):
    log = tmp_path / "out.jsonl.failures.jsonl"
    job(folder, JsonLinesSink(tmp_path / "out.jsonl"))
    before = lines(log)
    (folder / "007.jpg").write_text("bad once more")
    assert job(folder, JsonLinesSink(tmp_path / "out.jsonl")).failed == {"corrupt": 1}
    after = lines(log)
    assert sorted(each["path"] for each in after) == sorted(each["path"] for each in before)
    assert {each["version"] for each in after} != {each["version"] for each in before}
    assert job(folder, JsonLinesSink(tmp_path / "out.jsonl")).failed_before == 2


def test_a_picture_that_is_named_twice_is_captioned_once(folder, tmp_path):
    names = FilesSource((str(folder / "001.jpg"), str(folder / "001.jpg"), str(folder)), Which())
    captioner = ReadingCaptioner()
    run_job(SeveralSources((names, names)), captioner, JsonLinesSink(tmp_path / "out.jsonl"), Plan())
    assert len(captioner.asked) == 50


def test_captions_that_are_not_sure_enough_are_withheld_and_counted(folder, tmp_path):
    (folder / "005.jpg").write_text("unsure 5")
    summary = job(folder, JsonLinesSink(tmp_path / "out.jsonl"), min_confidence=0.5)
    assert (summary.captioned, summary.unsure, summary.failed.total()) == (47, 1, 2)
    reason = next(each for each in lines(tmp_path / "out.jsonl.failures.jsonl") if each["path"] == "005.jpg")
    assert reason["error"]["code"] == "unsure"


def test_files_that_vanish_and_change_while_the_job_runs_are_one_line_each(folder, tmp_path):
    class Vandal(ReadingCaptioner):
        """Deletes and replaces what it is about to be asked for."""

        def iter_results(self, pictures, **options):
            (folder / "sub" / "048.jpg").unlink()
            (folder / "047.jpg").write_text("bad now")
            (folder / "046.jpg").unlink()
            (folder / "046.jpg").mkdir()
            yield from super().iter_results(pictures, **options)

    summary = job(folder, JsonLinesSink(tmp_path / "out.jsonl"), Vandal())
    assert summary.status == 1
    assert summary.captioned + summary.failed.total() in (48, 49, 50)
    assert summary.captioned == 45


def test_two_jobs_on_one_output_are_refused_and_lines_never_mix(folder, tmp_path):
    with locked(tmp_path / "out.jsonl.lock"), pytest.raises(CaptionerError, match="another job is writing there"):
        job(folder, JsonLinesSink(tmp_path / "out.jsonl"))
    results = []

    def work():
        try:
            results.append(job(folder, JsonLinesSink(tmp_path / "out.jsonl")).captioned)
        except CaptionerError as error:
            results.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 48 in results
    assert set(results) <= {48, 0, "busy"}
    assert len(lines(tmp_path / "out.jsonl")) == 48


def test_an_output_that_takes_no_more_stops_the_job_and_the_next_one_goes_on(folder, tmp_path):
    class Full(JsonLinesSink):
        """A disk with room for twenty captions."""

        def write(self, outcomes):
            if self._path.read_bytes().count(b"\n") + len(outcomes) > 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(outcomes)

    with pytest.raises(CaptionerError, match=r"cannot write .*out.jsonl: No space left.*the same command goes on"):
        job(folder, Full(tmp_path / "out.jsonl"))
    assert 0 < len(lines(tmp_path / "out.jsonl")) <= 20
    assert job(folder, JsonLinesSink(tmp_path / "out.jsonl")).failed.total() <= 2
    assert len(lines(tmp_path / "out.jsonl")) == 48


# ---- texts beside the pictures --------------------------------------------------------------------------------------


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.txt")}


def test_texts_lie_beside_the_pictures_and_what_a_person_wrote_stays(folder):
    (folder / "001.txt").write_text("mine\n")
    (folder / "002.txt").write_text("  \n")
    summary = job(folder, SidecarSink(folder, "skip"))
    assert (summary.captioned, summary.there) == (47, 1)
    found = texts(folder)
    assert (found["001.txt"], found["002.txt"], found["sub/003.txt"]) == ("mine\n", "picture 2\n", "picture 3\n")
    assert "007.txt" not in found


def test_pictures_that_would_share_a_text_have_one_each(tmp_path):
    for name in ("a.jpg", "a.png", "b.JPG", "b.webp", "sub/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    job(tmp_path, SidecarSink(tmp_path, "skip"))
    found = texts(tmp_path)
    assert found.pop("sub/a.txt") == "sub/a.jpg\n"
    assert found == {f"{name}.txt": f"{name}\n" for name in ("a.jpg", "a.png", "b.JPG", "b.webp")}


def test_texts_can_go_into_a_folder_of_their_own(folder, tmp_path):
    job(folder, SidecarSink(folder, "skip", folder=tmp_path / "texts"))
    assert texts(folder) == {}
    assert texts(tmp_path / "texts")["sub/003.txt"] == "picture 3\n"


def test_texts_of_pictures_that_are_named_go_below_their_folder_and_never_out_of_it(tmp_path, monkeypatch):
    for place in ("here/sub/a.jpg", "here/b.jpg", "here/..d.jpg", "elsewhere/c.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text("picture")
    monkeypatch.chdir(tmp_path / "here")
    source = FilesSource(
        (str(tmp_path / "here/sub/a.jpg"), "b.jpg", "..d.jpg", "../elsewhere/c.jpg"), Which(hidden=True)
    )
    summary = run_job(source, ReadingCaptioner(), SidecarSink(source.home, "skip", folder=tmp_path / "texts"), Plan())
    assert (summary.captioned, summary.failed) == (3, {"output": 1})
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")}
    assert found == {"texts/sub/a.txt", "texts/b.txt", "texts/..d.txt"}


@pytest.mark.parametrize(
    ("existing", "expected"),
    [("overwrite", "picture 1\n"), ("append", "mine\npicture 1\n"), ("prepend", "picture 1\nmine\n")],
)
def test_existing_texts_are_changed_once_however_often_the_job_is_stopped(folder, existing, expected):
    (folder / "001.txt").write_text("mine\n")
    for stop_after in (0, 3, 17, 18, 40, 5, 60, None):
        try:
            job(folder, SidecarSink(folder, existing), ReadingCaptioner(stop_after))
        except KeyboardInterrupt:
            continue
        break
    found = texts(folder)
    assert found["001.txt"] == expected
    assert all(text.count("picture") == 1 for text in found.values())
    assert len(found) == 48
    job(folder, SidecarSink(folder, existing))  # what is there already is not said twice, as in metadata
    assert texts(folder) == found
    (folder / "002.jpg").write_text("picture two")
    job(folder, SidecarSink(folder, existing))
    assert texts(folder)["002.txt"].count("picture") == (1 if existing == "overwrite" else 2)


def test_a_job_of_another_kind_does_not_go_on_with_one_that_was_stopped(folder):
    with pytest.raises(KeyboardInterrupt):
        job(folder, SidecarSink(folder, "overwrite"), ReadingCaptioner(40))
    assert job(folder, MetadataSink(folder, "overwrite", fields=("alt",)), ReadingCaptioner()).captioned == 48
    with pytest.raises(KeyboardInterrupt):
        job(folder, MetadataSink(folder, "overwrite", fields=("alt",)), ReadingCaptioner(40))
    assert job(folder, MetadataSink(folder, "overwrite", fields=("description",)), ReadingCaptioner()).captioned == 48


@pytest.mark.parametrize(
    ("old", "existing", "new"),
    [
        (b"\xef\xbb\xbfmine\r\nand more\r\n\r\n", "append", b"\xef\xbb\xbfmine\r\nand more\r\npicture 1\r\n"),
        (b"\xef\xbb\xbfmine\r\n", "prepend", b"\xef\xbb\xbfpicture 1\r\nmine\r\n"),
        (b"mine", "append", b"mine\npicture 1\n"),
        (b"mine\npicture 1", "append", b"mine\npicture 1"),
        (b"mine\n\npicture 1\n", "prepend", b"mine\n\npicture 1\n"),
        (b" \r\n", "append", b"picture 1\n"),
        (b"Gr\xf6\xdfe\r\n", "append", b"Gr\xf6\xdfe\r\n"),
        ("größe".encode("utf-16"), "prepend", "größe".encode("utf-16")),
    ],
)
def test_a_text_that_is_added_to_keeps_its_own_bytes(tmp_path, old, existing, new):
    (tmp_path / "001.jpg").write_text("picture 1")
    (tmp_path / "001.txt").write_bytes(old)
    summary = job(tmp_path, SidecarSink(tmp_path, existing))
    assert (tmp_path / "001.txt").read_bytes() == new
    assert summary.failed == ({} if b"picture 1" in new else {"unwritable": 1})


def test_what_is_write_protected_is_one_failure_and_owners_stay(folder):
    for name in ("001.txt", "002.txt"):
        (folder / name).write_text("mine\n")
    (folder / "001.txt").chmod(0o444)
    with suppress(PermissionError):  # only root may
        os.chown(folder / "002.txt", 12345, 12346)
    owner = (folder / "002.txt").stat()
    assert job(folder, SidecarSink(folder, "overwrite")).failed == {"corrupt": 2, "unwritable": 1}
    assert texts(folder)["001.txt"] == "mine\n"
    assert texts(folder)["002.txt"] == "picture 2\n"
    now = (folder / "002.txt").stat()
    assert (now.st_uid, now.st_gid) == (owner.st_uid, owner.st_gid)


def test_a_damaged_journal_is_told_and_nothing_undone(folder):
    job(folder, SidecarSink(folder, "skip"))
    journal = folder / JOURNAL
    before, whole = texts(folder), journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*whole[:5], whole[5][:40] + b"\n", *whole[6:]]))
    with pytest.raises(CaptionerError, match="1 of its lines cannot be read"):
        undo(journal, pytest.fail)
    assert texts(folder) == before
    journal.write_bytes(b"".join(whole) + b'{"path": "cut sh')
    assert undo(journal, pytest.fail) == (48, 0)


def test_a_line_of_a_journal_that_says_something_else_changes_nothing(folder):
    (folder / "001.txt").write_text("mine\n")
    job(folder, SidecarSink(folder, "overwrite"))
    journal = folder / JOURNAL
    records = lines(journal)
    changed = next(each for each in records if each["path"] == "001.txt")
    changed["undo"][0][2] = "Z2FyYmFnZQ=="
    journal.write_text("".join(f"{json.dumps(each)}\n" for each in records))
    told = []
    assert undo(journal, told.append) == (47, 1)
    assert told == [f"{folder / '001.txt'}: its line in the journal is damaged; left alone"]
    assert texts(folder) == {"001.txt": "picture 1\n"}
    del changed["before"]
    journal.write_text(f"{json.dumps(changed)}\n")
    with pytest.raises(CaptionerError, match="1 of its lines cannot be read"):
        undo(journal, pytest.fail)


def test_an_undo_goes_on_behind_what_is_write_protected(folder):
    (folder / "001.txt").write_text("mine\n")
    job(folder, SidecarSink(folder, "overwrite"))
    (folder / "001.txt").chmod(0o444)
    told = []
    assert undo(folder / JOURNAL, told.append) == (47, 1)
    assert told == [f"{folder / '001.txt'}: it is write-protected; left alone"]
    (folder / "001.txt").chmod(0o644)
    assert undo(folder / JOURNAL, pytest.fail) == (1, 0)
    assert texts(folder) == {"001.txt": "mine\n"}


def test_a_text_that_is_no_utf8_is_captioned_when_it_was_mended_or_another_way_is_asked_for(tmp_path):
    (tmp_path / "a.jpg").write_text("picture")
    (tmp_path / "a.txt").write_bytes(b"gr\xf6n")
    assert job(tmp_path, SidecarSink(tmp_path, "append")).failed == {"unwritable": 1}
    assert job(tmp_path, SidecarSink(tmp_path, "append")).failed_before == 1
    assert job(tmp_path, SidecarSink(tmp_path, "overwrite")).captioned == 1
    (tmp_path / "a.txt").write_text("grün")
    assert job(tmp_path, SidecarSink(tmp_path, "append"), retry="temporary").captioned == 1
    assert texts(tmp_path)["a.txt"] == "grün\npicture\n"


def test_a_disk_that_is_full_when_the_output_is_closed_is_told_as_such(folder, tmp_path):
    class Full(JsonLinesSink):
        def __exit__(self, *error):
            super().__exit__(*error)
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CaptionerError, match=r"cannot write .*out.jsonl: No space left on device; what is there"):
        job(folder, Full(tmp_path / "out.jsonl"))


def test_undo_restores_every_file_but_those_that_changed_since(folder, tmp_path):
    (folder / "001.txt").write_bytes("größer\r\n".encode())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    job(folder, SidecarSink(folder, "append"))
    for picture in folder.rglob("*.jpg"):
        picture.write_text(picture.read_text().replace("picture", "image"))
    job(folder, SidecarSink(folder, "append"))
    for picture in folder.rglob("*.jpg"):
        picture.write_text(picture.read_text().replace("image", "picture"))
    (folder / "002.txt").write_text("a person wrote this\n")
    told = []
    undone, left = undo(folder / JOURNAL, told.append)
    assert undone == 2 * 47
    assert left == len(told) == 2
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}
    assert after.pop(folder / "002.txt") == b"a person wrote this\n"
    assert after == before


def test_a_change_that_was_noted_and_not_made_is_made_by_the_next_run(folder):
    (folder / "001.txt").write_text("mine\n")
    with pytest.raises(KeyboardInterrupt):
        job(folder, SidecarSink(folder, "append"), ReadingCaptioner(40))
    last = json.loads((folder / JOURNAL).read_text().splitlines()[-1])
    target = folder / last["path"]
    target.unlink()  # as if the process had been killed between the note and the change
    job(folder, SidecarSink(folder, "append"))
    assert target.read_text().startswith("picture")
    assert len(texts(folder)) == 48


def test_a_file_that_must_not_be_written_is_one_failure(folder):
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    (folder / "001.txt").write_text("")
    (folder / "sub").chmod(0o500)
    try:
        summary = job(folder, SidecarSink(folder, "skip"))
    finally:
        (folder / "sub").chmod(0o700)
    assert summary.failed["unwritable"] > 10


@pytest.mark.parametrize("kind", ["sidecar", "metadata"])
def test_a_place_where_nothing_can_be_written_is_one_failure_and_stops_nothing(kind, tmp_path):
    for name in ("a.jpg", f"{'b' * 249}.bmp", f"{'b' * 249}.jpg", "c.jpg", "d.jpg"):
        (tmp_path / name).write_text("picture")
    (tmp_path / "c.txt").mkdir()
    (tmp_path / "c.jpg.xmp").mkdir()
    sink = SidecarSink(tmp_path, "skip") if kind == "sidecar" else MetadataSink(tmp_path, "skip")
    summary = job(tmp_path, sink)
    assert (summary.captioned, summary.failed) == (2, {"unwritable": 3})
    assert len(lines(tmp_path / ".captioner.failures.jsonl")) == 3
    (tmp_path / "c.txt").rmdir()
    (tmp_path / "c.jpg.xmp").rmdir()
    assert job(tmp_path, sink).failed_before == 3
    assert job(tmp_path, sink, retry="temporary").captioned == 1


def test_what_keeps_one_output_from_taking_a_caption_says_nothing_of_another(tmp_path):
    (tmp_path / "a.jpg").write_text("picture")
    (tmp_path / "bad.jpg").write_text("bad")
    (tmp_path / "a.txt").mkdir()
    for _ in range(2):
        assert job(tmp_path, SidecarSink(tmp_path, "skip")).status == 1
    metadata = job(tmp_path, MetadataSink(tmp_path, "skip"))
    assert (metadata.captioned, metadata.failed_before) == (1, 1)  # a bad picture is one for everybody
    assert job(tmp_path, SidecarSink(tmp_path, "skip")).failed_before == 2


def test_a_picture_that_vanishes_before_its_caption_is_written_into_it_is_one_failure(folder):
    class Vanishing(ReadingCaptioner):
        def iter_results(self, pictures, **options):
            yield from super().iter_results(pictures, **options)
            (folder / "sub" / "048.jpg").unlink()

    assert job(folder, MetadataSink(folder, "skip"), Vanishing()).failed == {"corrupt": 2, "unwritable": 1}


def test_a_change_that_could_not_be_made_is_not_noted(tmp_path):
    with Journal(tmp_path / JOURNAL) as journal:
        journal.change(tmp_path / "a.txt", None, [Splice(0, 0, b"a")])
        before = (tmp_path / JOURNAL).read_bytes()
        with pytest.raises(FileNotFoundError):
            journal.change(tmp_path / "gone" / "b.txt", None, [Splice(0, 0, b"b")])
        assert (tmp_path / JOURNAL).read_bytes() == before
        journal.change(tmp_path / "c.txt", None, [Splice(0, 0, b"c")])
    assert [fields["path"] for fields in lines(tmp_path / JOURNAL)] == ["a.txt", "c.txt"]


def test_metadata_of_what_is_no_picture_to_it_goes_beside_it(folder):
    summary = job(folder, MetadataSink(folder, "skip"))
    assert summary.captioned == 48
    assert len(list(folder.rglob("*.xmp"))) == 48  # texts that the captioner of this test takes for pictures
    assert job(folder, MetadataSink(folder, "skip")).there == 48
    undone, _ = undo(folder / JOURNAL, pytest.fail)
    assert undone == 48
    assert not list(folder.rglob("*.xmp"))


def test_what_was_withheld_is_no_failure_and_wanted_when_less_is_asked_for(folder, tmp_path):
    out = tmp_path / "out.jsonl"
    (folder / "005.jpg").write_text("unsure 5")
    job(folder, JsonLinesSink(out), min_confidence=0.5)
    for least in (0.5, 0.2):
        captioner = ReadingCaptioner()
        summary = job(folder, JsonLinesSink(out), captioner, min_confidence=least)
        assert captioner.asked == []
        assert (summary.there, summary.unsure, summary.failed_before) == (47, 1, 2)
    summary = job(folder, JsonLinesSink(out), min_confidence=0.1)
    assert (summary.captioned, summary.unsure, summary.failed_before) == (1, 0, 2)


def test_what_one_captioner_withheld_another_is_asked_for(folder, tmp_path):
    (folder / "005.jpg").write_text("unsure 5")
    job(folder, JsonLinesSink(tmp_path / "out.jsonl"), min_confidence=0.5)
    other = ReadingCaptioner()
    other.fingerprint = ("another one",)
    summary = job(folder, JsonLinesSink(tmp_path / "out.jsonl"), other, min_confidence=0.5)
    assert [os.path.basename(name) for name in other.asked] == ["005.jpg"]  # noqa: PTH119
    assert (summary.unsure, summary.failed_before, summary.status) == (1, 2, 1)
    searched_otherwise = job(folder, JsonLinesSink(tmp_path / "out.jsonl"), options={"beam": 2})
    assert (searched_otherwise.captioned, searched_otherwise.there) == (1, 47)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "sqlite", "parquet", "html"])
def test_an_output_that_is_written_over_is_begun_once_however_often_the_job_is_stopped(kind, folder, tmp_path):
    if kind == "parquet":
        pytest.importorskip("pyarrow")

    def overwritten(captioner, existing="overwrite", **facts):
        sink = make_sink(Output("", str(tmp_path / f"out.{kind}"), existing, facts=facts), folder)
        return job(folder, sink, captioner)

    overwritten(ReadingCaptioner())
    asked = []
    for stop_after in (20, 0, 5, None):
        captioner = ReadingCaptioner(stop_after)
        with suppress(KeyboardInterrupt):
            overwritten(captioner, model="one")
        asked.append(len(captioner.asked))
    # All of them, and no more than a batch and what waits for its end once more each time.
    assert 50 <= sum(asked) + 2 <= 50 + 3 * (BATCH + 2)
    captioner = ReadingCaptioner(20)
    with pytest.raises(KeyboardInterrupt):
        overwritten(captioner, model="one")
    assert len(captioner.asked) == 20  # the one before had come to its end
    captioner = ReadingCaptioner(20)
    with pytest.raises(KeyboardInterrupt):
        overwritten(captioner, model="two")
    assert len(captioner.asked) == 20  # another job
    assert 0 < overwritten(ReadingCaptioner(), "skip").captioned < 48
    assert overwritten(ReadingCaptioner(), model="two").captioned == 48  # what was under way was ended by the last one
    assert not list(tmp_path.rglob("*.job.json"))


def test_a_stopped_job_of_another_captioner_is_not_gone_on_with(folder):
    with pytest.raises(KeyboardInterrupt):
        job(folder, SidecarSink(folder, "overwrite", {"captioner": "one"}), ReadingCaptioner(40))
    assert job(folder, SidecarSink(folder, "overwrite", {"captioner": "two"})).captioned == 48


@pytest.mark.parametrize("then", ["goes on", "is undone"])
def test_what_a_killed_job_left_half_written_does_not_stay(folder, then):
    class Killed(BaseException):
        """As a signal ends a process: nothing is tidied up."""

    calls = []

    def fsync(_):
        calls.append("")
        if len(calls) == 2:  # the first is the note's
            raise Killed

    with pytest.MonkeyPatch.context() as patch, Journal(folder / JOURNAL) as journal:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(Killed):
            journal.change(folder / "001.txt", None, [Splice(0, 0, b"half")])
    assert len(list(folder.glob(".*.part"))) == 1
    if then == "goes on":
        job(folder, SidecarSink(folder, "skip"))
    else:
        undo(folder / JOURNAL, pytest.fail)
    assert list(folder.glob(".*.part")) == []
