"""For all tests."""

import hypothesis  # noqa: F401  (its pytest plugin imports it at the very end otherwise, where CPython 3.11 may trip)
