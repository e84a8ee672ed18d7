"""Caption pictures with a finished captioner: python run_captioner.py photo.jpg [more …] [--model DIR] [--json]."""

from captioner.cli.caption import main
from captioner.cli.ending import leave

if __name__ == "__main__":
    leave(main(program="run_captioner.py"))
