"""What is promised to users: public names, a light start, no torch where it does not belong."""

import subprocess
import sys
from pathlib import Path

import pytest

import captioner

ROOT = Path(__file__).parents[2]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_promised_names_are_there_and_no_others_are_promised():
    assert captioner.__all__ == ["Caption", "Captioner", "CaptionerError", "__version__", "load"]
    for name in captioner.__all__:
        assert getattr(captioner, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'kaption'"):
        captioner.kaption  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "captioner",
        "captioner.runtime.captioner",
        "captioner.decoding.decode",
        "captioner.metrics.evaluate",
        "captioner.datasets.registry",
        "captioner.features",
        "captioner.bundle",
        "captioner.cli.main",
        "captioner.cli.caption",
        "captioner.cli.alt",
        "captioner.alttext.propose",
        "captioner.cli.evaluate",
        "captioner.cli.compare",
        "captioner.evaluation.assess",
        "captioner.evaluation.references",
    ],
)
def test_what_a_finished_captioner_needs_never_loads_torch(module):
    heavy = run(
        f"import sys, {module}; {module}; import captioner; captioner.load;"
        "print(sorted({'torch', 'lightning', 'transformers', 'safetensors', 'onnx', 'yaml'} & set(sys.modules)))"
    )
    assert heavy == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["caption", "--version"]]
    + [[verb, "--help"] for verb in ("caption", "alt", "evaluate", "compare", "report")],
)
def test_help_and_version_need_no_third_party_library(arguments):
    code = (
        "import sys; from captioner.cli.main import main\n"
        "try: main(" + repr(arguments) + ")\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    )
    assert run(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize("script", ["build_and_run.py", "run_captioner.py"])
def test_the_root_scripts_stay_short(script):
    path = ROOT / script
    if not path.exists():
        pytest.skip("the root scripts are not part of the wheel")
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 25
