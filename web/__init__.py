"""The HTTP tier: keeps nothing in memory between requests, never loads torch."""

from flask import Flask, current_app, request
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

import pipelines
from configs.settings import Settings
from jobs.queue import JobQueue
from storage import open_storage
from web import errors, requests
from web.context import Context, client
from web.dialects import DIALECTS
from web.operations import operation_of
from web.resources import RESOURCES
from web.waiting import Slots

_FORM_OVERHEAD = 2**20


def create_app(settings: Settings, redis_url: str) -> Flask:
    """The WSGI app of all dialects.

    Args:
        redis_url: where the jobs are; the entry files start a private server when none is named.
    """
    for module in settings.plugins:
        pipelines.register(module)
    app = Flask("maquette", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = int(settings.max_request_mb * 2**20)
    app.config["MAX_FORM_MEMORY_SIZE"] = _FORM_OVERHEAD
    storage = open_storage(settings.storage)
    slots = Slots(settings.web_threads, settings.web_waiting)
    app.extensions["maquette"] = Context(settings, JobQueue(redis_url, storage, settings), storage, slots)
    if settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.trusted_proxies, x_host=0)  # type: ignore[method-assign]
    wildcard = "*" in settings.cors_origins
    CORS(
        app,
        origins=list(settings.cors_origins),
        send_wildcard=wildcard,
        always_send=False,
        expose_headers=[
            *("Content-Range", "ETag", "Retry-After", "Content-Disposition"),
            *("Location", "Preference-Applied", requests.HEADER),
        ],
    )
    requests.install(app)
    if settings.api_keys:
        app.before_request(_demand_key)
    slots.install(app)
    errors.install(app)
    for blueprint in RESOURCES.values():
        app.register_blueprint(blueprint)
    for name, blueprint in DIALECTS.items():
        app.register_blueprint(blueprint)
        app.register_blueprint(blueprint, url_prefix=f"/{name}", name=f"{name}_prefixed")
    return app


def _demand_key() -> None:
    if request.method == "OPTIONS":  # a browser asks what it may send before it sends a key
        return
    found = operation_of(current_app.view_functions[request.endpoint]) if request.endpoint else None
    if not (found and found.public):
        client()
