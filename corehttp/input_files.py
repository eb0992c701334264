"""The files that a worker reads before it serves: whether they are there, and can be used, is found out before."""

import os

from corehttp.config import Config
from corehttp.errors import ConfigError, StartupError
from corehttp.log_config_option import path_of
from corehttp.tls.settings import in_directory, tls_settings


def check_input_files(config: Config, directory: str) -> None:
    """Raise ConfigError if a file that an option names is missing, or is a directory, pipe or device.

    It is raised, too, if certificates and keys cannot be served. Relative paths begin in `directory`.
    """
    _check_certificates(config, directory)
    for option, path in (("env-file", config.env_file), ("log-config", path_of(config.log_config))):
        if path is None or os.path.isfile(whole := os.path.join(directory, path)):
            continue
        if os.path.exists(whole):
            raise ConfigError(f"{option}: {whole} is no regular file, which each worker could read")
        raise ConfigError(f"{option}: there is no file {whole}")


def _check_certificates(config: Config, directory: str) -> None:
    """Raise ConfigError if certificates, keys or other files of TLS cannot be loaded."""
    settings = tls_settings(config)
    if settings is None:
        return
    from corehttp.tls.contexts import Contexts  # here, since few supervisors need OpenSSL

    try:
        Contexts(in_directory(settings, directory))
    except StartupError as error:
        raise ConfigError(str(error)) from error
