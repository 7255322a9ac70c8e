"""`python -m bertprune`, the same as the command `bertprune`."""

import sys

from bertprune.cli import main

sys.exit(main())
