"""`python -m simulation`, with tests/ on the path."""

import sys

from .campaign import main

sys.exit(main())
