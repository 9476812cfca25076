"""The app for a WSGI server: `gunicorn -c gunicorn_config.py wsgi:app`."""

import atexit
import logging
from contextlib import ExitStack

from configs.settings import LOG_FORMAT, load_settings
from jobs.server import serving
from web import create_app

settings = load_settings()
logging.basicConfig(level=settings.log_level, format=LOG_FORMAT)
_held = ExitStack()
atexit.register(_held.close)
# Under our gunicorn_config.py the address is in the environment by now, and this only looks at it.
app = create_app(settings, _held.enter_context(serving(settings)))
