"""The app for a WSGI server: `gunicorn -c gunicorn_config.py wsgi:app`."""

import atexit
from contextlib import ExitStack

from configs import logs
from configs.settings import load_settings
from jobs.server import serving
from web import create_app

settings = load_settings()
logs.configure(settings.log_level, settings.log_format)
_held = ExitStack()
atexit.register(_held.close)
# Under our gunicorn_config.py the address is in the environment by now, and this only looks at it.
app = create_app(settings, _held.enter_context(serving(settings)))
