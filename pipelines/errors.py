"""What can go wrong in a pipeline, and whose fault it is.

PipelineError
├── InputError            the picture or a parameter cannot work: the job ends, trying again would not help
├── PipelineUnavailable   the pipeline cannot run on this machine; the message names the remedy
├── OutOfMemory           the job needs more memory than the device has, however it is done; the process goes on
└── DeviceError           the device failed (out of memory, CUDA error): the process is replaced, the job tried again
"""


class PipelineError(Exception):
    """Base of everything a pipeline raises on purpose; `kind` is the stable word clients see."""

    kind = "pipeline_failed"


class InputError(PipelineError, ValueError):
    kind = "bad_input"


class PipelineUnavailable(PipelineError, LookupError):
    kind = "pipeline_unavailable"


class OutOfMemory(PipelineError, MemoryError):
    kind = "out_of_memory"


class DeviceError(PipelineError, RuntimeError):
    kind = "device_error"
