"""What the operator decides (`settings.py`) and the numbers of each network."""
