"""What the operator decides (`settings.py`) and the numbers of each network (`<family>/<network>.json`)."""

from pathlib import Path

NETWORKS = Path(__file__).resolve().parent
