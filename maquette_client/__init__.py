"""A small typed client of the Maquette service."""

from maquette_client.client import Job, MaquetteClient, MaquetteError

__all__ = ["Job", "MaquetteClient", "MaquetteError"]
