"""The networks of SyncHuman (arXiv 2510.07723): pictures of a person from five sides and voxels, made together."""
