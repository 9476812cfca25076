"""What lives beside a device: a light RQ worker, and the one process that holds the models."""
