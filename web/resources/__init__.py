"""What all dialects share: jobs, their files, and the service's health."""

from flask import Blueprint

from web.resources.events import blueprint as events
from web.resources.health import blueprint as health
from web.resources.jobs import blueprint as jobs
from web.resources.openapi import blueprint as openapi
from web.resources.outputs import blueprint as outputs
from web.resources.page import blueprint as page
from web.resources.statistics import blueprint as statistics

RESOURCES: dict[str, Blueprint] = {
    "jobs": jobs,
    "events": events,
    "outputs": outputs,
    "health": health,
    "statistics": statistics,
    "openapi": openapi,
    "page": page,
}
