"""`python -m captioner` is the command `captioner`."""

from captioner.cli.main import console

console()
