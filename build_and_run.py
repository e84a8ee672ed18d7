"""Train a captioner: data → features → training → export → evaluation → bundle → report.

    python build_and_run.py                                     the embedded drawn scenes, no download, a few minutes
    python build_and_run.py --data FOLDER --epochs 12           your own pictures and captions
    python build_and_run.py --config configs/FILE.yaml          a recipe; --help lists all options

Run again, it skips what is up to date. Then: python run_captioner.py photo.jpg
"""

import sys
from pathlib import Path

from captioner.cli.build import main

if __name__ == "__main__":
    sys.exit(main(program="build_and_run.py", recipe=Path(__file__).parent / "configs" / "scenes.yaml"))
