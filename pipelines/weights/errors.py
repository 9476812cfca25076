"""What can go wrong on the way of a file to this machine.

WeightsError        also a PipelineUnavailable: a job that meets one ends with its words
├── UnknownFamily   nothing of this name is in the catalogue
├── Missing         a file is not here; the message names the command
├── Refused         the server does not give it: not there, or not to us; or another process fetches it just now
├── Unreachable     the network or the server is away; trying again may help
├── WrongContent    what arrived, or lies there, is not the published file
└── NoRoom          the disk is too small
"""

from pipelines.errors import PipelineUnavailable


class WeightsError(PipelineUnavailable):
    """Base of all; the message says what to do."""


class UnknownFamily(WeightsError, KeyError):
    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show it in quotes


class Missing(WeightsError):
    pass


class Refused(WeightsError, PermissionError):
    pass


class Unreachable(WeightsError, ConnectionError):
    pass


class WrongContent(WeightsError, ValueError):
    pass


class NoRoom(WeightsError, OSError):
    pass
