"""The files of learned models: which there are, where they lie on this machine, and how they get there.

Finding them is cheap and imports nothing heavy; fetching them is `python -m pipelines.weights get <family>`, and
nothing else does it: no job ever waits for a download.
"""

from pipelines.weights.local import ABSENT, COMPLETE, PARTIAL, Found, find, require
from pipelines.weights.sources import Sources

__all__ = ["ABSENT", "COMPLETE", "PARTIAL", "Found", "Sources", "find", "require"]
