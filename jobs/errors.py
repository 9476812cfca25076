"""What can go wrong between a submit and its end.

JobsError
├── RedisUnavailable   Redis cannot be reached
├── UnsafeRedis        this Redis would forget or evict jobs
├── NoWorker           no living worker offers the pipeline
├── TooManyJobs        the client has as many waiting and running jobs as it may
├── JobNotFound        no such job, or it belongs to somebody else
└── JobGone            an Idempotency-Key names a job that has been removed since
"""


class JobsError(Exception):
    """Base of everything this package raises on purpose."""


class RedisUnavailable(JobsError, ConnectionError):
    pass


class UnsafeRedis(JobsError, RuntimeError):
    pass


class NoWorker(JobsError, RuntimeError):
    pass


class TooManyJobs(JobsError, RuntimeError):
    pass


class JobNotFound(JobsError, LookupError):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no request {job_id[:64]!r} of yours; ended ones are kept for a limited time")


class JobGone(JobsError, LookupError):
    pass
