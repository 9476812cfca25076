"""What goes wrong between a client and the service."""


class MaquetteError(Exception):
    """The service refused, did not answer, or a job ended in an error.

    Attributes:
        status: the HTTP status; 0 when a job itself failed or nobody answered.
        code: the service's stable word for what happened. Ours besides: unreachable, not_maquette (something else
            answers there), no_events, damaged (a file is not what its manifest says), not_converted, bad_name (a
            file's name or address would lead out of the folder or away from the service).
        retry_after_s: seconds after which trying again may help; None when it will not.
    """

    def __init__(self, message: str, status: int = 0, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    @property
    def transient(self) -> bool:
        """Whether the same request may well succeed a moment later."""
        if self.code == "too_many_waiting":  # the same question without waiting is answered at once
            return False
        return self.code == "unreachable" or self.status in (502, 503, 504)


class WebhookRefused(ValueError):
    """A call that claims to come from the service does not prove it."""
