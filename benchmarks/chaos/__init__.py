"""Everything dies at random moments under load; what clients were told, Redis and the storage must agree afterwards."""
