"""What can go wrong on the way of a file to this machine.

WeightsError
├── UnknownFamily   nothing of this name is in the catalogue
├── Refused         the server does not give it: not there, or not to us
├── Unreachable     the network or the server is away; trying again may help
├── WrongContent    what arrived, or lies there, is not the published file
└── NoRoom          the disk is too small
"""


class WeightsError(Exception):
    """Base of all; the message says what to do."""


class UnknownFamily(WeightsError, KeyError):
    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show it in quotes


class Refused(WeightsError, PermissionError):
    pass


class Unreachable(WeightsError, ConnectionError):
    pass


class WrongContent(WeightsError, ValueError):
    pass


class NoRoom(WeightsError, OSError):
    pass
