"""What a request handler needs of the app: settings, queue, storage, and who is asking."""

from dataclasses import dataclass

from flask import current_app, g, request

from configs.settings import Settings
from jobs.queue import JobQueue
from storage import Storage
from web.clients import client_of
from web.waiting import Slots


@dataclass(frozen=True)
class Context:
    """The app's parts, made once and handed to every request."""

    settings: Settings
    queue: JobQueue
    storage: Storage
    slots: Slots


def context() -> Context:
    """The parts of the app that answers this request."""
    found: Context = current_app.extensions["maquette"]
    return found


def client() -> str:
    """Who is asking."""
    if "client" not in g:
        g.client = client_of(request, context().settings)
    name: str = g.client
    return name
