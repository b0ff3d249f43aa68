"""`jackstay doctor`: is everything in place that an agent needs, and how is what is not mended?

Looks, and changes nothing. Each check is a function that gives findings; one that cannot be made says so (SKIP) instead
of passing. The network is used for the configured venues alone, and not at all when asked not to.
"""

from .finding import Finding, Patient, State
from .host import host_checks
from .venue import venue_checks

__all__ = ["Finding", "Patient", "State", "host_checks", "venue_checks"]
