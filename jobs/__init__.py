"""Jobs: the one Redis hash that is the truth about each, and the RQ queue that carries their ids to workers."""
