"""Torch modules under the names of the official checkpoints, the operations they need, and their samplers."""
