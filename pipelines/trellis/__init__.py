"""TRELLIS: a picture, or several of one thing, to a textured mesh and 3D Gaussians, by two flow transformers."""
