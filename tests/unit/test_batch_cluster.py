"""Shards are the same in every run, read as streams, and done once each: without Ray, on local disks and in memory://."""

import io
import json
import random
import tarfile
import tracemalloc

import pytest
from batch_fakes import ReadingCaptioner

pytest.importorskip("fsspec", reason="wants the extra `scale`")
pytest.importorskip("pyarrow", reason="wants the extra `scale`")

import fsspec
import pyarrow
import pyarrow.parquet

from captioner.batch.cluster.job import failures_of, run_shards
from captioner.batch.cluster.manifest import Manifest
from captioner.batch.cluster.places import Place
from captioner.batch.cluster.reading import pictures_of
from captioner.batch.cluster.shards import PICTURES, Shard, find_shards
from captioner.batch.cluster.worker import Task, caption_shard, not_done
from captioner.batch.walk import Which
from captioner.errors import CaptionerError, ConfigError, DataError, ImageError

JOB = {"captioner": ["a"], "options": {}}


@pytest.fixture(params=["disk", "store"])
def home(request, tmp_path):
    """An empty folder, on a disk or in an object store."""
    if request.param == "disk":
        yield Place(str(tmp_path / "home"))
        return
    yield Place("memory://home")
    fsspec.filesystem("memory").store.clear()


def put(folder, files):
    for name, content in files.items():
        folder.below(name).write(lambda file, content=content: file.write(content))


def pictures(count):
    return {
        f"{'ab'[number % 2]}/{number:04}.jpg": f"{'bad' if number % 50 == 7 else 'picture'} {number}".encode()
        for number in range(count)
    }


def packed(members):
    """A tar file of these members."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


def table(rows, **options):
    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), data, **options)
    return data.getvalue()


def shards_of(source, group=20, **which):
    return find_shards(source, Which(**which), group, lambda name, reason: None)


def engine(captioner, out, order=0):
    """Does what Ray does, here: shards in any order."""

    def work(todo):
        for shard in random.Random(order).sample(list(todo), len(todo)):
            yield caption_shard(shard, captioner, Task(out.url))

    return work


def run(source, out, captioner=None, job=None, group=20, **options):
    captioner = captioner or ReadingCaptioner()
    return run_shards(shards_of(source, group), out, Manifest(out, job or JOB), engine(captioner, out), **options)


def rows_of(out):
    return [
        row
        for name in sorted(out.files())
        if name.endswith(".parquet")
        for row in pyarrow.parquet.read_table(io.BytesIO(out.below(name).read())).to_pylist()
    ]


def paths_of(out):
    return sorted(row["path"] for row in rows_of(out))


def test_each_picture_of_a_folder_is_in_one_group_and_groups_have_about_the_size_asked_for(home):
    put(home, pictures(400))
    found = shards_of(home)
    assert [name for shard in found for name in shard.names] == sorted(pictures(400))
    assert all(10 <= len(shard.names) <= 40 for shard in found[:-1])
    assert 14 <= len(found) <= 30
    assert found == shards_of(home)
    assert [Shard.from_json(shard.to_json()) for shard in found] == found
    assert len({shard.id for shard in found}) == len(found)


def test_a_picture_more_changes_its_own_group_alone(home):
    put(home, pictures(400))
    before = {shard.id: shard.version for shard in shards_of(home)}
    put(home, {"a/0201x.jpg": b"new"})
    after = {shard.id: shard.version for shard in shards_of(home)}
    assert 1 <= len({*after.items()} - {*before.items()}) <= 2


def test_names_choose_as_for_a_job_on_this_machine(home):
    put(home, {"a.jpg": b"1", "b.PNG": b"1", "sub/c.webp": b"1", ".hidden/d.jpg": b"1", "note.txt": b"1"})
    names = lambda **which: [name for shard in shards_of(home, **which) for name in shard.names]  # noqa: E731
    assert names() == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert names(recursive=False) == ["a.jpg", "b.PNG"]
    assert names(exclude=("sub",)) == ["a.jpg", "b.PNG"]
    assert names(include=("*.webp",)) == ["sub/c.webp"]
    put(home, {"x.tar": b""})
    with pytest.raises(ConfigError, match=r"has 3 pictures and 1 tar shards; choose with --include"):
        names()
    assert [shard.name for shard in shards_of(home, include=("*.tar",))] == ["x.tar"]


def test_members_of_a_tar_file_with_the_keys_of_other_jobs(home, tmp_path):
    members = [
        ("0.jpg", b"zero"), ("0.txt", b"words"), ("1.depth.png", b"depth"), ("1.jpg", b"one"), ("d/2.JPG", b"two"),
        ("3.txt", b"alone"), ("4.jpg", b"four"), ("4.jpg", b"again"),
    ]  # fmt: skip
    put(home, {"sub/all.tar": packed(members)})
    (shard,) = shards_of(home)
    found = {item.key: item.source.read_bytes() for item in pictures_of(shard)}
    assert found == {
        "sub/all/0": b"zero", "sub/all/1": b"one", "sub/all/d/2": b"two", "sub/all/4": b"four",
    }  # fmt: skip


def test_a_tar_file_that_breaks_off_gives_what_is_before_it_and_says_so(home):
    content = packed([(f"{number}.jpg", b"x" * 600) for number in range(50)])
    put(home, {"cut.tar": content[:20_000], "none.tar": b"no tar file" * 200})
    cut, none = shards_of(home)
    found, broken = [], None
    try:
        for item in pictures_of(cut):
            found.append(item.key)
    except DataError as error:
        broken = error
    assert "breaks off after 12" in str(broken)
    assert found == [f"cut/{number}" for number in range(13)]
    out = home.below("out")
    record = caption_shard(cut, ReadingCaptioner(), Task(out.url))
    assert (record["captioned"], record["failed"]) == (len(found), {"data": 1})
    assert caption_shard(none, ReadingCaptioner(), Task(out.url))["failed"] == {"data": 1}


def test_a_picture_that_is_too_large_is_not_read(home, monkeypatch):
    monkeypatch.setattr("captioner.batch.cluster.reading.MAX_FILE_BYTES", 1000)
    put(home, {"all.tar": packed([("0.jpg", b"x" * 1001), ("1.jpg", b"one")])})
    first, second = pictures_of(shards_of(home)[0])
    with pytest.raises(ImageError, match="more than"):
        first.source.read_bytes()
    assert second.source.read_bytes() == b"one"


def test_cells_of_parquet_are_pictures_with_or_without_names(home):
    put(home, {"plain.parquet": table([b"zero", None, b"two"])})
    put(home, {"named.parquet": table([{"bytes": b"x", "path": "deep/x.jpg"}, {"bytes": b"y", "path": None}])})
    named, plain = shards_of(home)
    assert [item.key for item in pictures_of(named)] == ["named/0000001-x.jpg", "named/0000002"]
    first, second, third = pictures_of(plain)
    assert (first.source.read_bytes(), third.source.read_bytes()) == (b"zero", b"two")
    with pytest.raises(ImageError, match="the cell is empty"):
        second.source.read_bytes()
    put(home, {"names.parquet": table(["a.jpg"])})
    (names,) = shards_of(home, include=("names*",))
    with pytest.raises(DataError, match="has names, and not the pictures themselves"):
        list(pictures_of(names))


def test_shards_are_streamed(tmp_path):
    """Sixty megabytes of pictures, a few of them in memory at a time."""
    picture = random.Random(0).randbytes(200_000)
    put(Place(str(tmp_path)), {"all.tar": packed([(f"{number}.jpg", picture) for number in range(300)])})
    put(
        Place(str(tmp_path)),
        {"all.parquet": table([picture] * 300, row_group_size=300, use_dictionary=False, write_batch_size=10)},
    )
    for end in ("tar", "parquet"):
        (shard,) = shards_of(Place(str(tmp_path)), include=(f"*.{end}",))
        tracemalloc.start()
        assert sum(len(item.source.read_bytes()) for item in pictures_of(shard)) == 60_000_000
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
        assert pyarrow.total_allocated_bytes() < 30_000_000
        tracemalloc.stop()


def test_a_job_and_the_same_job_again(home):
    source, out = home.below("in"), home.below("out")
    put(source, pictures(200))
    summary = run(source, out)
    assert (summary.captioned, summary.failed, summary.status) == (196, {"corrupt": 4}, 1)
    rows = {row["path"]: row for row in rows_of(out)}
    assert sorted(rows) == paths_of(out) == sorted(pictures(200))
    assert rows["a/0010.jpg"]["caption"] == "picture 10"
    assert rows["a/0010.jpg"]["candidates"][1]["caption"] == "picture 10 too"
    assert rows["b/0007.jpg"]["caption"] is None
    assert rows["b/0007.jpg"]["error"]["code"] == "corrupt"
    failed = [json.loads(line) for line in failures_of(out).read().splitlines()]
    assert sorted(each["path"] for each in failed) == ["b/0007.jpg", "b/0057.jpg", "b/0107.jpg", "b/0157.jpg"]
    again = ReadingCaptioner()
    summary = run(source, out, again)
    assert again.asked == []
    assert (summary.shards, summary.failed_before, summary.status) == (0, 4, 1)
    assert len(failures_of(out).read().splitlines()) == 4
    summary = run(source, out, again, retry="all")
    assert 1 <= summary.shards <= 4
    assert summary.failed.total() == 4


def test_stopped_again_and_again_nothing_is_lost_and_nothing_is_there_twice(home):
    source, out, whole = home.below("in"), home.below("out"), home.below("whole")
    put(source, pictures(300))
    run(source, whole)
    chance, asked = random.Random(0), 0
    for _ in range(200):
        captioner = ReadingCaptioner(stop_after=chance.randint(10, 90))
        try:
            run(source, out, captioner)
            break
        except KeyboardInterrupt:
            assert len(paths_of(out)) == len(set(paths_of(out)))
        finally:
            asked += len(captioner.asked)
    else:
        pytest.fail("it does not get on")
    assert asked > 300
    assert sorted(map(str, rows_of(out))) == sorted(map(str, rows_of(whole)))


def test_a_part_without_a_record_does_not_count_and_neither_does_a_record_without_its_part(home):
    source, out = home.below("in"), home.below("out")
    put(source, pictures(100))
    run(source, out)
    first, second, *_ = sorted(name for name in out.files() if name.startswith("part-"))
    stray = out.below(first).read()
    out.below(second).remove()
    put(out, {"part-stray-0123.parquet": stray, first: stray + b"more"})
    summary = run(source, out)
    assert summary.shards == 2
    assert paths_of(out) == sorted(pictures(100))


def test_pictures_that_come_go_and_change_are_there_once_with_their_last_caption(home):
    source, out = home.below("in"), home.below("out")
    put(source, pictures(200))
    run(source, out)
    source.below("a/0100.jpg").remove()
    put(source, {"a/0000.jpg": b"picture changed", "a/0099x.jpg": b"new"})
    captioner = ReadingCaptioner()
    summary = run(source, out, captioner)
    assert summary.there >= 4
    assert len(captioner.asked) < 160
    assert paths_of(out) == sorted(({*pictures(200)} - {"a/0100.jpg"}) | {"a/0099x.jpg"})
    assert next(row["caption"] for row in rows_of(out) if row["path"] == "a/0000.jpg") == "picture changed"


def test_captions_of_archives_that_are_gone_stay(home):
    source, out = home.below("in"), home.below("out")
    put(source, {f"{name}.tar": packed([("1.jpg", name.encode())]) for name in "ab"})
    run(source, out)
    source.below("a.tar").remove()
    put(source, {"c.tar": packed([("1.jpg", b"c")])})
    assert run(source, out).shards == 1
    assert paths_of(out) == ["a/1", "b/1", "c/1"]


def test_another_captioner_wants_another_folder_or_overwrites(home):
    source, out = home.below("in"), home.below("out")
    put(source, pictures(60))
    run(source, out)
    with pytest.raises(ConfigError, match=r"written with another captioner \(.*--existing overwrite"):
        run(source, out, job={**JOB, "captioner": ["b"]})
    assert paths_of(out) == sorted(pictures(60))
    summary = run(source, out, job={**JOB, "captioner": ["b"]}, fresh=True)
    assert summary.captioned == 58
    assert run(source, out, job={**JOB, "captioner": ["b"]}).shards == 0
    put(home, {"mine/letter.txt": b"dear"})
    for fresh in (False, True):
        with pytest.raises(ConfigError, match="choose an empty folder"):
            run(source, home.below("mine"), fresh=fresh)
    assert home.below("mine/letter.txt").read() == b"dear"


def test_a_shard_that_cannot_be_reached_is_not_done_and_tried_again(home):
    source, out = home.below("in"), home.below("out")
    put(source, {f"{name}.tar": packed([("1.jpg", name.encode())]) for name in "ab"})
    shards, told = shards_of(source), []

    def flaky(todo):
        for shard in todo:
            if shard.name == "b.tar":
                source.below("b.tar").remove()
            yield caption_shard(shard, ReadingCaptioner(), Task(out.url))

    summary = run_shards(shards, out, Manifest(out, JOB), flaky, tell=told.append)
    assert (summary.shards, summary.not_done, summary.status) == (1, 1, 1)
    assert any("b.tar" in line and line.endswith("not done") for line in told)
    put(source, {"b.tar": packed([("1.jpg", b"b")])})
    assert run(source, out).shards == 1
    assert paths_of(out) == ["a/1", "b/1"]


def test_what_is_given_up_or_given_twice_does_not_count_twice(home):
    source, out = home.below("in"), home.below("out")
    put(source, pictures(60))

    def twice(todo):
        for shard in todo[1:]:
            found = caption_shard(shard, ReadingCaptioner(), Task(out.url))
            yield from (found, found)
        yield not_done(todo[0], "gone")

    summary = run_shards(shards_of(source), out, Manifest(out, JOB), twice)
    assert summary.not_done == 1
    assert summary.captioned + summary.failed.total() == len(paths_of(out)) == len(set(paths_of(out)))


def test_two_jobs_do_not_write_to_one_folder(tmp_path):
    source, out = Place(str(tmp_path / "in")), Place(str(tmp_path / "out"))
    put(source, pictures(40))

    def another(todo):
        with pytest.raises(CaptionerError, match="another job is writing there"):
            run(source, out)
        yield from engine(ReadingCaptioner(), out)(todo)

    assert run_shards(shards_of(source), out, Manifest(out, JOB), another).captioned == 39
    assert not (tmp_path / "out.lock").exists()


def test_names_that_are_not_utf8_come_through(tmp_path):
    try:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "caf\udce9.jpg").write_bytes(b"x")
    except (OSError, UnicodeError):
        pytest.skip("this system has no such names")
    out = Place(str(tmp_path / "out"))
    assert run(Place(str(tmp_path / "in")), out).captioned == 1
    (row,) = rows_of(out)
    assert (row["path"], row["path_b64"]) == ("caf\\udce9.jpg", "Y2Fm6S5qcGc=")


def test_places_that_nobody_knows():
    with pytest.raises(ConfigError, match="expected a path, or a URL"):
        Place("nosuchstore://bucket/x")
    with pytest.raises(ConfigError, match="no such file or folder"):
        shards_of(Place("memory://nowhere"))
    assert PICTURES == "pictures"
