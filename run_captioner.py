"""Caption pictures with a finished captioner: python run_captioner.py photo.jpg [more …] [--model DIR] [--json]."""

import sys

from captioner.cli.caption import main

if __name__ == "__main__":
    sys.exit(main(program="run_captioner.py"))
