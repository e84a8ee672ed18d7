"""What the service says is what the captioner says: numbers, order, options, errors; alone and together (S-9)."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from servers import entries, httpx, picture, problem, running

import captioner
from captioner.runtime.records import caption_fields


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=2", "--queue=100") as found:
        yield found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return captioner.load("pretrained")


def expected(model, data, **options):
    """What the service shall say of a picture."""
    return caption_fields(model.caption(data, **options))


def without_extras(entry):
    candidates = [{name: each[name] for name in ("caption", "log_prob")} for each in entry["candidates"]]
    return {"caption": entry["caption"], "log_prob": entry["log_prob"], "confidence": entry["confidence"],
            "candidates": candidates}  # fmt: skip


def test_one_picture_as_the_body_is_captioned_as_the_captioner_does_it(server, model):
    data = picture(1)
    with server.client() as client:
        answer = client.post("/v1/captions", content=data, headers={"content-type": "image/jpeg"})
    (entry,) = entries(answer)
    assert without_extras(entry) == expected(model, data)
    assert entry["error"] is None
    assert " ".join(word["word"] for word in entry["words"]) == entry["caption"]
    assert all(0 < word["probability"] <= 1 and word["log_prob"] <= 0 for word in entry["words"])
    assert answer.json()["model"] == {"name": "pretrained", "id": answer.json()["model"]["id"]}


@pytest.mark.parametrize("options", [{"beam": 1}, {"beam": 4, "n_best": 3}, {"max_length": 4}, {"n_best": 2}])
def test_options_are_those_of_the_captioner(server, model, options):
    data = picture(2)
    with server.client() as client:
        answer = client.post("/v1/captions", content=data, params=options,
                             headers={"content-type": "application/octet-stream"})  # fmt: skip
    assert without_extras(entries(answer)[0]) == expected(model, data, **options)


def test_several_pictures_are_answered_in_their_order_and_a_bad_one_in_its_place(server, model):
    good = [picture(seed) for seed in range(10, 15)]
    files = [good[0], b"no picture", *good[1:], good[0][: len(good[0]) // 2]]
    with server.client() as client:
        answer = client.post("/v1/captions", files=[("file", ("x.jpg", data)) for data in files])
    found = entries(answer)
    assert [each["error"] and each["error"]["code"] for each in found] == [None, "unsupported", *[None] * 4, "corrupt"]
    assert found[1]["caption"] is None
    captioned = [entry for entry in found if entry["error"] is None]
    assert [without_extras(entry) for entry in captioned] == [expected(model, data) for data in good]


def test_pictures_that_are_all_bad_are_a_problem_with_the_code_of_the_first(server):
    with server.client() as client:
        problem(client.post("/v1/captions", files=[("file", b"no"), ("file", b"neither")]), 422, "unsupported")
        half = picture(3)[:500]
        told = problem(
            client.post("/v1/captions", content=half, headers={"content-type": "image/jpeg"}), 422, "corrupt"
        )
    assert told["detail"].startswith("the picture: damaged")


def test_a_caption_that_is_not_sure_enough_is_withheld_as_the_command_line_does_it(server, model):
    data = picture(4)
    with server.client() as client:
        answer = client.post("/v1/captions?min_confidence=1", content=data, headers={"content-type": "image/jpeg"})
    (entry,) = entries(answer)
    reason = f"confidence {model.caption(data).confidence:.3f} is below 1"
    assert (entry["caption"], entry["candidates"], entry["error"], entry["reason"]) == (None, [], None, reason)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("beam=0", "beam"), ("beam=21", "1 to 20"), ("beam=x", "beam"),
        ("max_length=101", "1 to 100"), ("min_confidence=2", "min_confidence"),
        ("min_confidence=nan", "min_confidence"),
        ("bean=3", "bean"), ("beam=1&beam=2&x=%00", "x"), ("beam=" + "9" * 5000, "beam"),
        ("nosuch=1", "nosuch: there is no such option"), ("beam=0", "beam: expected 1 or more"),
        ("beam=two", "beam: expected a whole number"), ("min_confidence=2", "min_confidence: expected 1"),
        ("beam=2&n_best=3", "n_best is 3; expected 1 to beam, which is 2"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_problems_that_name_them(server, query, says):
    with server.client() as client:
        answer = client.post(f"/v1/captions?{query}", content=picture(5), headers={"content-type": "image/jpeg"})
    assert says in problem(answer, 422, "config")["detail"]


async def _ask(url, pictures, clients, requests):
    """`requests` requests by `clients` clients; answers by the number of their picture."""
    answers = []
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False,
                                 limits=httpx.Limits(max_connections=clients)) as client:  # fmt: skip

        async def one_client(number):
            for turn in range(number, requests, clients):
                which = turn % len(pictures)
                answer = await client.post(
                    "/v1/captions", content=pictures[which], headers={"content-type": "image/jpeg"}
                )
                answers.append((which, answer))

        await asyncio.gather(*(one_client(number) for number in range(clients)))
    return answers


@pytest.mark.parametrize(
    "requests", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=str
)
def test_s9_no_answer_is_swapped_among_64_clients(server, model, requests):
    pictures = [picture(100 + seed) for seed in range(64)]
    right = [expected(model, data) for data in pictures]
    assert len({json.dumps(each) for each in right}) == 64  # so that a swap shows
    answers = asyncio.run(_ask(server.url, pictures, 64, requests))
    assert len(answers) == requests
    assert all(without_extras(entries(answer)[0]) == right[which] for which, answer in answers)
    # Batches form; how large they are depends on what else the machine does.
    assert server.metric("captioner_batch_pictures_count") < 0.9 * server.metric("captioner_batch_pictures_sum")
    assert server.metric("captioner_in_flight") == 0


def test_requests_with_other_options_do_not_get_into_one_batch(server, model):
    data = picture(6)
    with server.client() as client, ThreadPoolExecutor(16) as pool:
        beams = [1, 2, 3, 4] * 6

        def ask(beam):
            params = {"beam": beam, "n_best": beam}
            return client.post("/v1/captions", content=data, params=params, headers={"content-type": "image/jpeg"})

        answers = list(pool.map(ask, beams))
    for beam, answer in zip(beams, answers, strict=True):
        assert without_extras(entries(answer)[0]) == expected(model, data, beam=beam, n_best=beam)
