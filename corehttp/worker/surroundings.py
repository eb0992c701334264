"""What an application finds where it is loaded: variables of the environment, and how logging is configured."""

import logging
import os

from corehttp import metrics_directory
from corehttp.app import put_first
from corehttp.errors import StartupError
from corehttp.log_config_option import is_dictionary
from corehttp.text import shown

logger = logging.getLogger("corehttp.error")

# What reads the kinds of files that `logging.config.dictConfig` takes, by the ends of their names.
_DICTIONARIES = {".json": "json", ".toml": "tomllib", ".yaml": "yaml", ".yml": "yaml"}


def prepare(env_file: str | None, log_config: str | None, metrics: str | None, app_dir: str | None = None) -> None:
    """Set the variables of an environment file, configure logging, and name the directory for metrics.

    To be called before the application is imported; None means that there is nothing to do. Handlers and formatters may
    be classes in `app_dir`, which comes first in the import path then, as `app.load` has it. Raises StartupError if a
    file cannot be read, or is wrong.
    """
    if env_file is not None:
        load_variables(env_file)
    if log_config is not None:
        if app_dir is not None:
            put_first(app_dir)
        configure_logging(log_config)
    if metrics is not None:
        os.environ[metrics_directory.VARIABLE] = metrics  # as prometheus_client sees it at import


def load_variables(path: str) -> None:
    """Set the variables of the file at `path`, except those that the environment has already. Raises StartupError."""
    try:
        from dotenv import load_dotenv
    except ImportError:
        raise StartupError("env-file needs a package: pip install python-dotenv") from None

    def tell(record: logging.LogRecord) -> bool:
        """Log in place of python-dotenv, which does not name the file."""
        logger.warning("env-file %s: %s", path, record.getMessage())
        return False

    parser = logging.getLogger("dotenv.main")
    parser.addFilter(tell)
    try:
        with open(path, encoding="utf-8") as file:
            load_dotenv(stream=file)
    except (OSError, ValueError) as error:
        raise StartupError(f"env-file: {path} cannot be read: {_reason(error)}") from error
    finally:
        parser.removeFilter(tell)


def configure_logging(given: str) -> None:
    """Configure logging as the file at a path says, or a dictionary in JSON, with `logging.config`.

    JSON, TOML and YAML are for its `dictConfig`, any other file for its `fileConfig`, which disables no loggers here.
    Raises StartupError.
    """
    import logging.config  # here, since few services need it, and with what it imports it takes 0.4 MB

    path = "the dictionary" if is_dictionary(given) else given
    reader = "json" if is_dictionary(given) else _DICTIONARIES.get(os.path.splitext(path)[1].lower())
    try:
        if reader is None:
            with open(path, encoding="utf-8") as file:
                logging.config.fileConfig(file, disable_existing_loggers=False)
        else:
            logging.config.dictConfig(_loads(given) if is_dictionary(given) else _read(path, reader))
    except OSError as error:
        raise StartupError(f"log-config: {path} cannot be read: {_reason(error)}") from error
    except (StartupError, KeyboardInterrupt):
        raise
    except (
        BaseException
    ) as error:  # a syntax error of the file, or whatever a handler or formatter that it names raises
        cause = f", since {_told(error.__cause__)}" if error.__cause__ else ""
        if reader is None and isinstance(error, KeyError):
            cause = "; a file that is no .json, .toml or .yaml needs the sections [loggers], [handlers], [formatters]"
        raise StartupError(f"log-config: {path} configures no logging: {_told(error)}{cause}") from error


def _loads(text: str) -> dict[str, object]:
    """Return the dictionary of a text in JSON."""
    import json  # here, since few services need it

    content: dict[str, object] = json.loads(text)
    return content


def _read(path: str, reader: str) -> dict[str, object]:
    """Return the content of a file; raises OSError, StartupError, and what the module `reader` raises."""
    if reader == "yaml":
        try:
            import yaml  # type: ignore[import-untyped]
        except ImportError:
            raise StartupError(f"log-config: {path} needs a package: pip install PyYAML") from None
        read = yaml.safe_load
    elif reader == "json":
        from json import loads as read
    else:
        from tomllib import loads as read
    with open(path, encoding="utf-8") as file:
        content: object = read(file.read())
    if not isinstance(content, dict):
        raise StartupError(f"log-config: {path} must hold a table, as logging.config.dictConfig takes it")
    return content


def _told(error: BaseException) -> str:
    """Return the type of an error and its text, in one line."""
    try:
        return f"{type(error).__name__}({' '.join(str(error).split())!r})"
    except Exception:
        return shown(error)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
