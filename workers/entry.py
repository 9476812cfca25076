"""What every entry file begins and ends with: settings, logging, signals, and one sentence where something is wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pipelines
from configs import logs
from configs.settings import Settings, SettingsError, load_settings
from jobs.errors import UnsafeRedis
from pipelines.errors import PipelineUnavailable
from storage.errors import StorageError
from workers.processes import follow_parent, leave_on_signals


@contextmanager
def entry(program: str) -> Iterator[Settings]:
    """The settings for the body of a program. What the operator can mend ends it with words, not with a traceback."""
    leave_on_signals()
    follow_parent()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format)
        for module in settings.plugins:
            pipelines.register(module)
        yield settings
    except (SettingsError, UnsafeRedis, PipelineUnavailable, StorageError, OSError) as error:
        sys.exit(f"{program}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
