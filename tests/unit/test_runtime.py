"""Whatever graphs a sealed bundle holds, a captioner captions with them or refuses them in one line."""

import io

import numpy as np
import pytest

pytest.importorskip("onnx")
pytestmark = pytest.mark.torch

import onnxruntime  # noqa: E402
from graphs import FLOAT, SIZE, VOCAB, encoder, graph, save_captioner, start, step, with_external_data  # noqa: E402
from onnx import helper  # noqa: E402
from PIL import Image  # noqa: E402

import captioner  # noqa: E402
from captioner.errors import BundleError, CaptionerError, ConfigError  # noqa: E402
from captioner.runtime import captioner as runtime  # noqa: E402
from captioner.runtime.session import open_session, run_graph  # noqa: E402
from captioner.text.vocabulary import Vocabulary  # noqa: E402

PICTURE = np.zeros((SIZE, SIZE, 3), np.uint8)


def refused(call, match: str) -> str:
    """The message of the BundleError that `call` raises: one line."""
    with pytest.raises(BundleError, match=match) as caught:
        call()
    assert caught.value.message.isprintable()
    return caught.value.message


def test_many_pictures_give_what_each_gives_alone_and_bad_ones_their_errors_in_place(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in range(23)]
    mixed = [*pictures[:5], b"no picture", *pictures[5:], tmp_path / "missing.jpg"]
    alone = [model.caption(picture) for picture in pictures]
    for workers in (1, 3):
        results = list(model.iter_results(mixed, batch=4, workers=workers))
        assert [each for each in results if not isinstance(each, CaptionerError)] == alone
        assert [each.code for each in results if isinstance(each, CaptionerError)] == ["unsupported", "missing"]
        assert isinstance(results[5], CaptionerError)
        assert isinstance(results[-1], CaptionerError)
        with pytest.raises(CaptionerError, match="not a picture"):
            list(model.iter_captions(mixed, batch=4, workers=workers))


def test_options_are_checked_before_any_picture_is_taken(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    taken = []
    with pytest.raises(ConfigError, match="beam"):
        model.iter_results((taken.append(1) or PICTURE for _ in range(3)), beam=0)
    for wrong in ({"workers": 0}, {"batch": 0}, {"batch": 2.5}, {"batch": -1}):
        with pytest.raises(ConfigError, match=f"--{next(iter(wrong))} is"):
            model.iter_results([PICTURE], **wrong)
    assert not taken


def test_a_batch_that_fails_as_a_whole_is_tried_picture_by_picture(tmp_path):
    """Its decoder looks every first token up in a table of one row, and finds none."""
    model = captioner.load(save_captioner(tmp_path, decoder_step=step(fails=True)))
    results = list(model.iter_results([PICTURE, b"no picture", PICTURE], batch=3))
    assert [type(each).__name__ for each in results] == ["BundleError", "ImageError", "BundleError"]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_a_device_that_is_not_here_is_an_error_and_not_the_cpu_in_silence(tmp_path):
    folder = save_captioner(tmp_path)
    with pytest.raises(ConfigError, match="--device cuda: this ONNX Runtime runs on the CPU alone; install"):
        captioner.load(folder, device="cuda")
    with pytest.raises(ConfigError, match="--device is 'gpu'; expected one of cpu, cuda"):
        captioner.load(folder, device="gpu")


def test_the_captioner_of_these_tests_is_one(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    assert model.caption(PICTURE).text == "dog runs a"
    assert [each.text for each in model.caption_batch([PICTURE] * 3)] == ["dog runs a"] * 3


# ---- what the graphs declare ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ({"encoder": encoder(size=SIZE + 1)}, r"encoder takes pixels .*expected a free batch and \(3, 8, 8\)"),
        ({"encoder": encoder(batch=1)}, "encoder takes pixels .*expected a free batch"),
        ({"encoder": encoder(copies=2)}, r"decoder takes features of shape .*expected a free batch and \(6,\)"),
        ({"encoder": encoder(declared=4)}, r"encoder gives features of shape \(None,\)"),
        ({"encoder": encoder(copies=2**23)}, "at most 16,777,216 numbers"),
        ({"encoder": start()}, "does not turn pixels into features|encoder takes pixels"),
        ({"encoder": step()}, "does not turn pixels into features"),
        ({"decoder_start": start(channels=4)}, "decoder takes features"),
        ({"decoder_start": encoder()}, "do not fit together"),
        ({"decoder_start": start(output="SequenceConstruct")}, "do not fit together|not a graph"),
        ({"decoder_step": step(VOCAB + 1, declared=VOCAB + 1)}, rf"decoder gives words .*\({VOCAB},\)"),
        ({"decoder_step": step(VOCAB + 1)}, "decoder gives words"),
        ({"decoder_step": start()}, "do not fit together"),
    ],
)
def test_graphs_that_do_not_fit_are_refused_before_any_picture_is_read(tmp_path, graphs, message):
    folder = save_captioner(tmp_path, **graphs)
    refused(lambda: captioner.load(folder), message)


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ({"decoder_step": step(damaged=True)}, "nan as a log-probability"),
        ({"decoder_step": step(fails=True)}, "failed in ONNX Runtime: .*out of .*bounds"),
        ({"decoder_step": step(one_row=True)}, r"gave log_probs the shape \(1, 7\); expected 2 rows"),
    ],
)
def test_graphs_that_fail_at_their_work_are_an_error_of_one_line(tmp_path, graphs, message, capfd):
    model = captioner.load(save_captioner(tmp_path, **graphs))
    with pytest.raises(CaptionerError, match=message) as caught:
        model.caption_batch([PICTURE] * 2, beam=1)
    assert caught.value.message.isprintable()
    assert capfd.readouterr().err == ""  # ONNX Runtime says nothing beside it


def test_features_of_another_number_of_pictures_are_refused(tmp_path):
    flat = graph(
        [helper.make_node("Reshape", ["pixels", "shape"], ["features"])],
        {"pixels": (FLOAT, ["batch", 3, SIZE, SIZE])},
        {"features": (FLOAT, ["other", 3])},
        shape=np.array([-1, 3]),
    )
    model = captioner.load(save_captioner(tmp_path, encoder=flat))
    refused(lambda: model.caption(PICTURE), r"gave features the shape \(64, 3\); expected 1 rows")


def test_an_error_without_a_text_has_its_name():
    class Silent:
        def run(self, *_):
            raise MemoryError

    refused(lambda: run_graph(Silent(), [], {}, 1), "MemoryError")


# ---- other files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["encoder", "decoder_start", "decoder_step"])
def test_a_graph_that_reads_other_files_is_refused(tmp_path, name):
    """The file is there, and its content right: ONNX Runtime would read it."""
    models = {"encoder": encoder(), "decoder_start": start(), "decoder_step": step()}
    if name == "decoder_start":
        add = helper.make_node("Add", ["features", "nothing"], ["hidden"])
        features = {"features": (FLOAT, ["batch", 3])}
        models[name] = graph([add], features, {"hidden": (FLOAT, ["batch", 3])}, nothing=np.zeros(3, np.float32))
    values = models[name].graph.initializer[-1].raw_data
    folder = save_captioner(tmp_path, **{name: with_external_data(models[name], "values.bin")})
    (folder / "values.bin").write_bytes(values)
    refused(lambda: captioner.load(folder), f"{name}.onnx takes values from other files")


@pytest.mark.parametrize("place", [0, 1, 2, 3, 2**18 - 14, 2**18 - 9, 2**18 - 5, 2**18 - 3])
@pytest.mark.parametrize("length", [b"\x08", b"\x88\x80\x00"])
def test_other_files_are_found_wherever_they_are_named(tmp_path, place, length):
    """Also across two of the pieces that a graph is read in, and with the length in a longer spelling."""
    content = b"\xff" * place + b"\x0a" + length + b"location" + b"\x12\x01w"
    (tmp_path / "graph.onnx").write_bytes(content)
    refused(lambda: open_session(content), "takes values from other files")
    refused(lambda: open_session(tmp_path / "graph.onnx"), "takes values from other files")


def test_a_graph_may_speak_of_a_location(tmp_path):
    named = graph(
        [helper.make_node("Identity", ["features"], ["hidden"], name="/location/embedding location")],
        {"features": (FLOAT, ["batch", 3])},
        {"hidden": (FLOAT, ["batch", 3])},
    )
    assert b"location" in named.SerializeToString()
    assert captioner.load(save_captioner(tmp_path, decoder_start=named)).caption(PICTURE).text == "dog runs a"


def test_a_graph_that_is_gone_is_named(tmp_path):
    refused(lambda: open_session(tmp_path / "gone.onnx"), "cannot read gone.onnx: No such file")


def test_a_file_of_another_runtime_is_not_taken_for_a_graph():
    refused(lambda: open_session(b"\x18\0\0\0ORTM" + bytes(100)), "not a graph that ONNX Runtime can run")


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beem": 3}, "no option 'beem' .*beam, n_best, max_length"),
        ({"beam": "3"}, "--beam is '3'; expected a whole number"),
        ({"beam": 2.0}, "--beam is 2.0; expected a whole number"),
        ({"beam": None}, "--beam is None"),
        ({"beam": 0}, "--beam is 0"),
        ({"beam": 101}, "--beam is 101; expected 1 to 100"),
        ({"n_best": True}, "--n-best is True; expected a whole number"),
        ({"n_best": "2"}, "--n-best is '2'"),
        ({"n_best": 200}, "--n-best is 200; expected 1 to 100"),
        ({"n_best": 0}, "--n-best is 0"),
        ({"beam": 2, "n_best": 3}, "--n-best is 3; expected 1 to the beam size, 2"),
        ({"length_penalty": "x"}, "--length-penalty is 'x'; expected a finite number"),
        ({"length_penalty": float("inf")}, "--length-penalty is inf; expected a finite number"),
        ({"length_penalty": float("nan")}, "--length-penalty is nan; expected a finite number"),
    ],
)
def test_a_wrong_option_is_a_config_error_by_name(tmp_path, options, message):
    model = captioner.load(save_captioner(tmp_path))
    for call in (lambda: model.caption(PICTURE, **options), lambda: model.check_options(**options)):
        with pytest.raises(ConfigError, match=message):
            call()


def test_of_beam_and_n_best_the_one_not_asked_for_makes_room(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    assert len(model.caption(PICTURE, n_best=4, no_repeat_ngram=0).candidates) == 4
    assert len(model.caption(PICTURE, beam=1).candidates) == 1


@pytest.mark.parametrize("threads", [0, -1, 257, 100_000, True, "2", 1.0])
def test_a_wrong_number_of_threads_is_refused_before_any_is_started(tmp_path, threads, monkeypatch):
    folder = save_captioner(tmp_path)
    monkeypatch.setattr(runtime, "CaptionGraphs", lambda *_: pytest.fail("a graph was opened"))
    with pytest.raises(ConfigError, match=r"--threads is .*; expected 1 to 256"):
        captioner.load(folder, threads=threads)


def test_pictures_may_come_as_files(tmp_path):
    data = io.BytesIO()
    Image.fromarray(PICTURE).save(data, "PNG")
    assert captioner.load(save_captioner(tmp_path)).caption(data.getvalue()).text == "dog runs a"


# ---- words, ensembles, confidence -----------------------------------------------------------------------------------


def test_words_that_must_and_must_not_be_said(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    assert "dog" not in model.caption(PICTURE, must_not_say=["dog"]).text.split()
    without_a = model.caption(PICTURE, must_not_say=["a"], max_length=4)
    assert without_a.text == "dog runs"
    assert "a" in model.caption(PICTURE, must_say=["A"], min_length=1).text.split()  # cut as captions are


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"must_say": ["zebra"]}, "does not know the word 'zebra'"),
        ({"must_not_say": ["a dog"]}, "'a dog' in must_not_say is not one word"),
        ({"must_say": "dog"}, "must_say is 'dog'; expected a sequence of words"),
        ({"must_say": [3]}, "3 in must_say is not one word"),
        ({"must_say": ["dog"], "must_not_say": ["dog"]}, "'dog' must be said and must not be said"),
        ({"must_say": ["dog"], "temperature": 1.0}, "leave the temperature at 0"),
        ({"must_say": ["dog", "a"], "max_length": 2}, "2 words that must be said do not fit into 2 tokens"),
        ({"groups": 2, "beam": 5}, "--groups is 2; expected a divisor of the beam size, 5"),
        ({"groups": 0}, "--groups is 0"),
        ({"groups": "2"}, "--groups is '2'"),
    ],
)
def test_words_and_groups_that_cannot_be_had_are_refused_by_name(tmp_path, options, message):
    model = captioner.load(save_captioner(tmp_path))
    with pytest.raises(ConfigError, match=message):
        model.caption(PICTURE, **options)


def test_groups_make_the_beam_as_wide_as_they_need(tmp_path):
    model = captioner.load(save_captioner(tmp_path))
    assert len(model.caption(PICTURE, groups=3, n_best=3, no_repeat_ngram=0, diversity=5.0).candidates) == 3


def test_several_captioners_write_together(tmp_path):
    """Two that are equal say what one says; with one that was told other words, nothing is said."""
    one, two = save_captioner(tmp_path / "one"), save_captioner(tmp_path / "two", encoder=encoder(copies=1))
    alone, together = captioner.load(one).caption(PICTURE), captioner.load([one, two]).caption(PICTURE)
    assert together.text == alone.text
    assert together.log_prob == pytest.approx(alone.log_prob, abs=1e-5)
    assert together.confidence is None
    other = save_captioner(tmp_path / "other", vocabulary=Vocabulary(("a", "cat", "runs")))
    refused(lambda: captioner.load([one, other]), "do not have the same words")
    with pytest.raises(ConfigError, match="no bundle is named"):
        captioner.load([])


def test_confidence_is_that_of_the_manifest(tmp_path):
    confidence = {"slope": 2.0, "intercept": 1.5, "acceptable": 40.0}
    caption = captioner.load(save_captioner(tmp_path, confidence=confidence)).caption(PICTURE)
    tokens = len(caption.words) + 1
    assert caption.confidence == pytest.approx(1 / (1 + np.exp(-(2.0 * caption.log_prob / tokens + 1.5))), abs=1e-6)
    assert captioner.load(save_captioner(tmp_path / "without")).caption(PICTURE).confidence is None
    refused(lambda: captioner.load(save_captioner(tmp_path / "bad", confidence={"slope": "x"})), "`confidence`")
