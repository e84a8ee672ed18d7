"""What `run_captioner.py` does with one photograph, stage by stage; prints milliseconds as JSON. For startup.py.

python benchmarks/one_photo.py PICTURE BUNDLE THREADS
"""

import json
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()
marks: dict[str, float] = {}


def mark(stage: str) -> None:
    """Note how long it is since the last mark."""
    marks[stage] = 1000 * (time.perf_counter() - STARTED) - sum(marks.values())


if __name__ == "__main__":
    picture, folder, threads = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    import numpy  # noqa: F401

    mark("import numpy")
    import PIL.Image  # noqa: F401

    mark("import Pillow")
    import onnxruntime  # noqa: F401

    mark("import ONNX Runtime")
    import captioner.cli.caption  # noqa: F401
    from captioner.bundle import load_bundle
    from captioner.decoding.constraints import NO_RULES
    from captioner.decoding.decode import decode
    from captioner.images import load_image
    from captioner.runtime.captioner import Captioner

    mark("import captioner")
    bundle = load_bundle(folder)
    mark("verify the bundle")
    model = Captioner(bundle, threads=threads)
    (graphs,) = model.graphs
    mark("open the graphs")
    spec = bundle.manifest.preprocess
    image = load_image(picture, at_least=spec.decode_side)
    mark("read the picture")
    pixels = spec.normalize(spec.resize(image)[None])
    mark("resize and scale")
    features = graphs.encoder(pixels)
    mark("encoder, first time")
    decode(graphs.steps, features, bundle.manifest.decode, bundle.vocabulary.special, NO_RULES)
    mark("words, first time")
    print(json.dumps(marks))
