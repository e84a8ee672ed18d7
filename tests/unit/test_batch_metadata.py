"""Captions into pictures as a job writes them: what people wrote stays, whichever of the fields it is in."""

import pytest
from batch_fakes import ReadingCaptioner, caption_of
from PIL import Image

from captioner.batch.job import Plan, run_job
from captioner.batch.sinks.metadata import FIELDS, MetadataSink
from captioner.batch.sources import FolderSource
from captioner.batch.walk import Which as Files
from captioner.metadata.splice import apply
from captioner.metadata.write import Which, caption_in, splices

PLACES = {name: Which(**{field: field == name for field in FIELDS}) for name in FIELDS}


class Describing(ReadingCaptioner):
    """Says the same of every picture."""

    def iter_results(self, pictures, **options):
        for _ in pictures:
            yield caption_of("a caption")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8), "navy").save(path)
    return path


def write(picture, existing="skip", fields=FIELDS):
    sink = MetadataSink(picture.parent, existing, fields=fields)
    return run_job(FolderSource(picture.parent, Files()), Describing(), sink, Plan())


def found(picture):
    return {name: caption_in(picture.read_bytes(), place) for name, place in PLACES.items()}


@pytest.mark.parametrize("place", FIELDS)
def test_a_text_of_a_person_in_any_field_stays_as_it_is(picture, place):
    picture.write_bytes(apply(data := picture.read_bytes(), splices(data, "mine", PLACES[place], "overwrite")))
    before = picture.read_bytes()
    assert write(picture).there == 1
    assert picture.read_bytes() == before


@pytest.mark.parametrize(("place", "field"), [("description", "alt"), ("alt", "description"), ("iptc", "alt")])
def test_only_the_fields_that_are_asked_for_count(picture, place, field):
    picture.write_bytes(apply(data := picture.read_bytes(), splices(data, "mine", PLACES[place], "overwrite")))
    assert write(picture, fields=(field,)).captioned == 1
    assert (found(picture)[place], found(picture)[field]) == ("mine", "a caption")
    assert write(picture, fields=(field,)).there == 1


def test_the_caption_in_iptc_is_a_description_too(picture):
    picture.write_bytes(apply(data := picture.read_bytes(), splices(data, "mine", PLACES["iptc"], "overwrite")))
    assert write(picture, fields=("description",)).there == 1


def test_a_sidecar_file_with_an_alternative_text_alone_is_a_caption(tmp_path):
    picture = tmp_path / "a.bmp"
    Image.new("RGB", (8, 8), "navy").save(picture)
    assert write(picture, fields=("alt",)).captioned == 1
    before = (tmp_path / "a.bmp.xmp").read_bytes()
    assert write(picture).there == 1
    assert write(picture, fields=("description",)).captioned == 1
    assert (tmp_path / "a.bmp.xmp").read_bytes() != before


def test_a_field_that_a_format_does_not_hold_says_nothing_of_others(tmp_path):
    for name in ("a.png", "b.bmp"):
        Image.new("RGB", (8, 8), "navy").save(tmp_path / name)
    failed = write(tmp_path / "a.png", fields=("iptc",))
    assert failed.failed == {"metadata_unsupported": 2}
    log = (tmp_path / ".captioner.failures.jsonl").read_text()
    assert all(f"{tmp_path / name}: " in log for name in ("a.png", "b.bmp"))
    assert write(tmp_path / "a.png", fields=("iptc",)).failed_before == 2
    assert write(tmp_path / "a.png", fields=("alt",)).captioned == 2
