"""`python -m captioner` is the command `captioner`."""

import sys

from captioner.cli.main import main

sys.exit(main())
