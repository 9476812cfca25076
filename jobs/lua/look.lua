-- Reads one job. Returns nothing when there is no such job.
return look(id)
