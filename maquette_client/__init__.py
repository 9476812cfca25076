"""A small typed client of the Maquette service, and the `maquette` command."""

from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError, WebhookRefused
from maquette_client.records import Event, Job
from maquette_client.webhooks import verify_webhook

__all__ = ["Event", "Job", "MaquetteClient", "MaquetteError", "WebhookRefused", "verify_webhook"]
