"""Explanations, the model's description, metrics, the schema, and corrections that builds can learn from."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from servers import entries, picture, problem, running

import captioner
from captioner.datasets.registry import open_dataset
from captioner.runtime.occlusion import covered, occlusion_maps

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=1") as found:
        yield found


@pytest.fixture(scope="module")
def model():
    return captioner.load("pretrained")


def test_an_explanation_is_the_attention_of_the_captioner(server, model):
    data = picture(1)
    with server.client() as client:
        found = client.post("/v1/explanations", content=data, headers=JPEG).json()
        told = client.post("/v1/explanations?text=a dog runs", content=data, headers=JPEG).json()
    right = model.attention(data)
    assert (found["method"], found["rows"], found["columns"]) == ("attention", *right.shape[1:])
    assert found["caption"] == model.caption(data).text == " ".join(found["words"])
    assert np.allclose(np.array(found["maps"]).reshape(right.shape), right, atol=1e-5)
    assert told["words"] == ["a", "dog", "runs"]
    assert np.allclose(np.array(told["maps"]).sum(axis=1), 1, atol=1e-3)


def test_words_that_the_captioner_does_not_know_are_told_as_they_were_written(server):
    with server.client() as client:
        found = client.post("/v1/explanations?text=A Zzzqqq dog", content=picture(1), headers=JPEG).json()
    assert found["words"] == ["a", "zzzqqq", "dog"]
    assert len(found["maps"]) == 3


def test_explanations_of_bad_pictures_and_texts_are_problems(server):
    with server.client() as client:
        problem(client.post("/v1/explanations", content=b"none", headers=JPEG), 422, "unsupported")
        problem(client.post("/v1/explanations?text=", content=picture(1), headers=JPEG), 422, "config")
        long = "dog " * 700
        problem(
            client.post("/v1/explanations", params={"text": long}, content=picture(1), headers=JPEG), 413, "too_large"
        )
        odd = client.post("/v1/explanations?text=zzzqqq 狗 %00", content=picture(1), headers=JPEG)
        assert odd.status_code == 200
        assert len(odd.json()["words"]) == len(odd.json()["maps"])


def test_occlusion_says_which_patch_a_word_hangs_on(model):
    """Shares of each word add up to 1; where covering changes nothing, no patch is named."""
    data = picture(2, size=(300, 300))
    text = model.caption(data).text
    maps = occlusion_maps(model, data, text)
    assert maps.shape == (len(text.split()), 7, 7)
    sums = maps.sum(axis=(1, 2))
    assert np.all((np.abs(sums - 1) < 1e-5) | (sums == 0))
    assert maps.min() >= 0
    gray = np.full((300, 300, 3), 127, np.uint8)  # covered or not, it is the same picture
    assert not occlusion_maps(model, gray, text).any()


def test_patches_cover_the_picture_once():
    square = np.zeros((10, 10, 3), np.uint8)
    views = covered(square, 3)
    assert views.shape == (10, 10, 10, 3)
    assert not views[0].any()
    assert np.all((views[1:] > 0).sum(axis=0) == 1)


def test_a_captioner_without_attention_is_explained_by_occlusion(tmp_path):
    pytest.importorskip("onnx")
    from graphs import save_captioner

    folder = save_captioner(tmp_path)
    with running(tmp_path, "--workers=1", f"--model={folder}") as server, server.client() as client:
        found = client.post("/v1/explanations", content=picture(1), headers=JPEG).json()
        assert client.get("/v1/model").json()["attention"] is False
        problem(client.post("/v1/captions?min_confidence=0.5", content=picture(1), headers=JPEG), 422, "config")
    assert (found["method"], found["rows"], found["columns"]) == ("occlusion", 7, 7)
    assert len(found["maps"]) == len(found["words"])
    assert all(len(each) == 49 for each in found["maps"])


def test_training_pictures_that_look_alike_are_told_where_the_bundle_keeps_some(server, tmp_path):
    pytest.importorskip("onnx")
    from graphs import COLOURS, save_captioner, save_neighbours

    folder = save_captioner(tmp_path, more=save_neighbours(tmp_path))
    red, blue = plain(200, 10, 10), plain(10, 10, 200)
    with running(tmp_path, "--workers=1", f"--model={folder}") as other, other.client() as client:
        assert client.get("/v1/model").json()["neighbours"] is True
        for data, colour in ((red, "red"), (blue, "blue")):
            found = client.post("/v1/neighbours?count=2", content=data, headers=JPEG).json()["neighbours"]
            assert [each["captions"] for each in found][:1] == [[f"a {colour} wall", f"all {colour}"]]
            assert len(found) == 2
            assert 1 >= found[0]["similarity"] > found[1]["similarity"]
        assert len(client.post("/v1/neighbours", content=red, headers=JPEG).json()["neighbours"]) == len(COLOURS)
        problem(client.post("/v1/neighbours?count=21", content=red, headers=JPEG), 422, "config")
        problem(client.post("/v1/neighbours?count=0", content=red, headers=JPEG), 422, "config")
        problem(client.post("/v1/neighbours", content=b"none", headers=JPEG), 422, "unsupported")
    with server.client() as client:
        assert client.get("/v1/model").json()["neighbours"] is False
        problem(client.post("/v1/neighbours", content=red, headers=JPEG), 404, "no_neighbours")


def plain(*colour):
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, "PNG")
    return file.getvalue()


def test_the_model_is_described(server, model):
    with server.client() as client:
        found = client.get("/v1/model").json()
    manifest = model.bundle.manifest
    assert found["name"] == "pretrained"
    assert (found["decoder"], found["attention"], found["words"]) == ("attention", True, len(model.bundle.vocabulary))
    assert found["options"]["beam"] == manifest.decode.beam
    assert {row["name"] for row in found["scores"]} >= {"CIDEr", "BLEU-4"}
    assert all(row["split"] == "dev" for row in found["scores"])
    assert found["limits"]["files"] == 16
    assert found["corrections"] is False


def test_metrics_count_what_happens(server):
    before = {name: server.metric(f"captioner_{name}") for name in ("pictures_total", "requests_total")}
    with server.client() as client:
        entries(client.post("/v1/captions", files=[("file", picture(1)), ("file", b"bad")]))
        for number in range(50):
            assert client.get(f"/nowhere/{number}").status_code == 404
        text = client.get("/metrics").text
    assert server.metric("captioner_pictures_total") == before["pictures_total"] + 2
    assert 'captioner_pictures_total{outcome="unreadable"}' in text
    assert 'captioner_requests_total{route="/v1/captions",status="200"}' in text
    assert 'captioner_requests_total{route="other",status="404"}' in text
    assert "/nowhere" not in text  # or anybody could fill the memory with names
    names = ("queue_length", "in_flight", "batch_pictures_bucket", "worker_restarts_total", "workers_resident_bytes",
             "request_seconds_bucket", "workers_ready")  # fmt: skip
    for name in names:
        assert f"captioner_{name}" in text


def test_the_schema_names_all_routes_and_has_examples(server):
    with server.client() as client:
        schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/v1/captions", "/v1/explanations", "/v1/neighbours", "/v1/corrections", "/v1/corrections/{key}/{id}",
        "/v1/model", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    answers = schema["paths"]["/v1/captions"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["example"]["captions"][0]["caption"]
    assert "application/problem+json" in answers["422"]["content"]


# ---- corrections ----------------------------------------------------------------------------------------------------


def correct(client, data, caption, **more):
    return client.post("/v1/corrections", files=[("file", data)], data={"caption": caption, **more})


def test_corrections_are_off_unless_asked_for(server):
    with server.client() as client:
        problem(correct(client, picture(1), "a dog"), 404, "corrections_off")


def records(path):
    data = open_dataset(str(path))
    found = [record for split in data.splits for record in data.records(split)]
    return {record.source.read_bytes(): record.captions for record in found}


def test_corrections_are_read_by_the_reader_of_shards(tmp_path):
    path = tmp_path / "kept.tar"
    pictures = [picture(seed) for seed in range(12)]
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as server, server.client() as client:
        for number, data in enumerate(pictures):
            answer = correct(client, data, f"a red box number {number}", was="a dog")
            assert answer.status_code == 200, answer.text
        assert correct(client, pictures[0], "a second caption").json()["captions"] == [
            "a red box number 0",
            "a second caption",
        ]
        assert correct(client, pictures[11], "another one").status_code == 200
        assert (
            correct(client, pictures[11], "and a third").status_code == 200
        )  # of the same picture, one behind the other
        assert correct(client, pictures[11], "and a third").json()["captions"][-1] == "and a third"  # kept once
        assert correct(client, pictures[1], "two\nlines\x1b[31m").json()["captions"][-1] == "two lines\\x1b[31m"
        assert client.get("/v1/model").json()["corrections"] is True
    found = records(path)
    assert found[pictures[0]] == ("a red box number 0", "a second caption")
    assert found[pictures[11]] == ("a red box number 11", "another one", "and a third")
    assert found[pictures[1]][1] == "two lines\\x1b[31m"
    assert len(found) == 12
    doctor = subprocess.run(
        [sys.executable, "-m", "captioner", "doctor", str(path)], capture_output=True, text=True, timeout=60
    )
    assert "members of one name are a picture and its captions" in doctor.stdout, doctor.stderr
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as server, server.client() as client:
        assert correct(client, pictures[0], "after a restart").json()["captions"][0] == "a red box number 0"
    assert records(path)[pictures[0]] == ("a red box number 0", "a second caption", "after a restart")


def test_a_shard_that_was_cut_anywhere_loses_the_last_correction_at_most(tmp_path):
    from captioner.serve.corrections import Corrections
    from captioner.serve.limits import Limits

    path = tmp_path / "whole.tar"
    kept = Corrections(path, Limits())
    pictures = [picture(seed, size=(20, 20)) for seed in range(3)]
    ends = []
    for number, data in enumerate(pictures):
        kept._keep(data, f"caption {number}", "was")
        ends.append(path.stat().st_size - 1024)
    kept.close()
    whole = path.read_bytes()
    cuts = [0, *range(40, len(whole), 97), *(end + more for end in ends for more in (-1, 0, 1))]
    for cut in cuts:
        torn = tmp_path / "torn.tar"
        torn.write_bytes(whole[:cut])
        again = Corrections(torn, Limits())
        again._keep(b"\xff\xd8new", "new", "")
        again.close()
        with tarfile.open(torn) as tar:
            texts = [tar.extractfile(name).read().decode() for name in tar.getnames() if name.endswith(".txt")]
        assert texts == [*(f"caption {number}\n" for number, end in enumerate(ends) if end <= cut), "new\n"], cut


def test_a_correction_is_taken_back_with_its_picture(tmp_path):
    path = tmp_path / "kept.tar"
    first, second = picture(1), picture(2)
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as server, server.client() as client:

        def take_back(kept):
            return client.delete(f"/v1/corrections/{kept['key']}/{kept['id']}")

        slip = correct(client, first, "a slip").json()
        key = slip["key"]
        red = correct(client, first, "a red box", was="a dog").json()
        assert (red["added"], correct(client, first, "a red box").json()) == (True, {**red, "added": False})
        blue = correct(client, second, "a blue box").json()
        secret = correct(client, second, "a secret").json()
        assert take_back(slip).json() == {"key": key, "captions": ["a red box"]}
        assert take_back(secret).json() == {"key": blue["key"], "captions": ["a blue box"]}
        assert records(path) == {first: ("a red box",), second: ("a blue box",)}
        assert path.read_bytes().count(first) == path.read_bytes().count(second) == 1
        assert b"a slip" not in path.read_bytes()
        problem(take_back(slip), 404, "no_correction")
        problem(take_back({**red, "key": "0" * 32}), 404, "no_correction")
        problem(client.delete(f"/v1/corrections/{key}"), 404, "not_found")
        assert take_back(blue).json()["captions"] == []
        assert correct(client, second, "a green box").json()["captions"] == ["a green box"]
        assert "slip" not in server.log()
    assert records(path) == {first: ("a red box",), second: ("a green box",)}
    doctor = subprocess.run(
        [sys.executable, "-m", "captioner", "doctor", str(path), "--json"], capture_output=True, text=True, timeout=60
    )
    assert "gone" not in doctor.stdout + doctor.stderr
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as server, server.client() as client:
        assert correct(client, first, "after a restart").json()["captions"] == ["a red box", "after a restart"]
        assert client.delete(f"/v1/corrections/{red['key']}/{red['id']}").json()["captions"] == ["after a restart"]
    assert records(path) == {first: ("after a restart",), second: ("a green box",)}


def test_what_could_not_be_taken_back_can_be_tried_again(tmp_path, monkeypatch):
    from captioner.serve.corrections import Corrections
    from captioner.serve.limits import Limits
    from captioner.serve.problems import Problem

    path, data, write = tmp_path / "kept.tar", picture(1), os.pwrite
    kept = Corrections(path, Limits())
    answer = asyncio.run(kept.keep(data, {"caption": "a secret", "was": "a dog"}))
    for allowed in (0, 1, 1):  # the text, which is last, never
        left = [allowed]

        def pwrite(*given, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*given)

        monkeypatch.setattr(os, "pwrite", pwrite)
        with pytest.raises(Problem, match="No space left"):
            asyncio.run(kept.take_back(answer["key"], answer["id"]))
    monkeypatch.setattr(os, "pwrite", write)
    kept.close()
    kept = Corrections(path, Limits())
    assert asyncio.run(kept.take_back(answer["key"], answer["id"]))["captions"] == []
    kept.close()
    assert data not in path.read_bytes()
    assert b"a secret" not in path.read_bytes()


def test_a_file_that_was_moved_away_is_told(tmp_path):
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as server, server.client() as client:
        correct(client, picture(1), "a red box")
        (tmp_path / "kept.tar").rename(tmp_path / "moved.tar")
        problem(correct(client, picture(2), "a blue box"), 507, "corrections_lost")
    assert len(records(tmp_path / "moved.tar")) == 1


def test_a_shard_is_written_by_one_service_at_a_time_and_never_when_it_is_none(tmp_path):
    from captioner.errors import ConfigError
    from captioner.serve.corrections import Corrections
    from captioner.serve.limits import Limits

    held = Corrections(tmp_path / "kept.tar", Limits())
    with pytest.raises(ConfigError, match="another service writes there"):
        Corrections(tmp_path / "kept.tar", Limits())
    held.close()
    Corrections(tmp_path / "kept.tar", Limits()).close()
    for content in (b"important text", b"dead", b"important " * 1000):
        (tmp_path / "notes.tar").write_bytes(content)
        with pytest.raises(ConfigError, match="no tar file"):
            Corrections(tmp_path / "notes.tar", Limits())
        assert (tmp_path / "notes.tar").read_bytes() == content


@pytest.mark.parametrize("names", [["1.jpg", "2.jpg"], ["1.jpg", "1.txt", "2.jpg", "2.json"], ["folder/1.jpg"]])
def test_an_archive_of_somebody_else_is_refused_and_left_as_it_is(names, tmp_path):
    from captioner.errors import ConfigError
    from captioner.serve.corrections import Corrections
    from captioner.serve.limits import Limits

    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            tar.addfile(member, io.BytesIO(b"x" * 700))
    before = (tmp_path / "photos.tar").read_bytes()
    with pytest.raises(ConfigError, match=r"1.jpg in it is no correction; choose another file"):
        Corrections(tmp_path / "photos.tar", Limits())
    assert (tmp_path / "photos.tar").read_bytes() == before


def test_bad_corrections_are_problems_and_leave_nothing(tmp_path):
    options = ("--workers=1", "--corrections=kept.tar", "--corrections-bytes=60000")
    with running(tmp_path, *options) as server, server.client() as client:
        problem(correct(client, b"no picture", "a dog"), 422, "unsupported")
        problem(correct(client, picture(1), " \n "), 422, "empty_caption")
        problem(correct(client, picture(1), "x" * 2001), 413, "too_large")
        two = client.post("/v1/corrections", files=[("file", picture(1)), ("file", picture(2))], data={"caption": "a"})
        problem(two, 400, "one_file")
        problem(client.post("/v1/corrections", content=picture(1), headers=JPEG), 422, "empty_caption")
        before = (tmp_path / "kept.tar").read_bytes()
        assert before == bytes(1024)
        problem(correct(client, picture(5, size=(900, 900), kind="BMP"), "large"), 507, "corrections_full")
        assert (tmp_path / "kept.tar").read_bytes() == before


def test_corrections_by_many_clients_are_all_kept(tmp_path):
    pictures = [picture(seed, size=(60, 60)) for seed in range(20)]
    options = ("--workers=2", "--corrections=kept.tar")
    with running(tmp_path, *options) as server, server.client() as client, ThreadPoolExecutor(10) as pool:
        asked = [(data, f"caption {turn}") for turn in range(3) for data in pictures]
        answers = list(pool.map(lambda one: correct(client, *one), asked))
        assert all(answer.status_code == 200 for answer in answers)
    found = records(tmp_path / "kept.tar")
    assert {data: sorted(captions) for data, captions in found.items()} == {
        data: ["caption 0", "caption 1", "caption 2"] for data in pictures
    }
    with tarfile.open(tmp_path / "kept.tar") as tar:
        assert sum(name.endswith(".txt") for name in tar.getnames()) == 60
