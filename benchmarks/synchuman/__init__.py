"""How much memory each stage of SyncHuman takes, counted and measured, and how long, beside what the device could do.

`python -m benchmarks.synchuman [--count] [--device cpu|cuda] [--size tiny|official] [--json]`. The pipeline's own model
runs, with random weights. Counting needs neither memory nor numbers: tensors are on torch's meta device. The exit
status is 1 when a stage needs more than it may, a check fails, or counts disagree with what was there.
"""
