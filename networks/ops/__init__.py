"""What the networks compute with: attention over rows of many lengths, voxels, sparse convolution."""
