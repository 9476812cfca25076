"""How long each part of TRELLIS takes, what memory, how far from what the device could do, and what each saving gains.

`python -m benchmarks.networks --device cpu|cuda --size tiny|official [--json]`. Weights are random: time and memory do
not depend on them. Every result is checked, and the exit status is 1 when a check fails.
"""
