"""What models built on TRELLIS's structured latent share: voxels first, then a latent on them, then shapes."""
