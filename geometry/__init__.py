"""Meshes, cameras and images on surfaces: arrays in, arrays out, nothing of ours above this floor."""
