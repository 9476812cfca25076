"""What the command's exit status says, and which error means which."""

from enum import IntEnum

from maquette_client.errors import MaquetteError


class Exit(IntEnum):
    """Exit statuses, as MEANING explains them to users."""

    OK = 0
    FAILED = 1
    USAGE = 2
    AWAY = 3
    DENIED = 4
    INTERRUPTED = 130


MEANING = """exit status:
  0    done
  1    a job ended in an error or was cancelled, or a file could not be fetched or written
  2    wrong usage: an argument, picture or parameter is not accepted, or there is no such job
  3    the service does not answer, is not ready, or something else answers at its address
  4    the service wants an API key, or another one
  130  interrupted with Ctrl-C; jobs that were handed in go on, unless --cancel-on-interrupt was given"""


def exit_of(error: Exception) -> Exit:
    """The status for an error that ended a command or a job."""
    if not isinstance(error, MaquetteError):
        return Exit.FAILED
    if error.transient or error.code == "not_maquette":
        return Exit.AWAY
    if error.status in (401, 403):
        return Exit.DENIED
    return Exit.USAGE if 400 <= error.status < 500 else Exit.FAILED
