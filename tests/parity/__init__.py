"""Whether our modules give the reference's numbers: `python -m tests.parity DIR…`.

Each DIR is a unit (config.json, inputs, outputs, weights as .safetensors) or a folder of units.
"""
