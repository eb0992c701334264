"""Files of TLS are looked at before anything is started; other files in tests/worker/test_surroundings.py."""

from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.input_files import check_input_files
from tests.kit.certificates import Authority

authority = Authority()


def test_certificates_are_loaded_before_a_worker_is_started(tmp_path: Path) -> None:
    authority.issue("a.org").write(tmp_path)
    config = Config(ssl_certfile=("tls.crt",), ssl_keyfile=("tls.key",))
    check_input_files(config, str(tmp_path))
    (tmp_path / "tls.crt").write_bytes(authority.issue("a.org").pem)
    with pytest.raises(ConfigError) as raised:
        check_input_files(config, str(tmp_path))
    assert str(raised.value) == (
        f"ssl-keyfile: {tmp_path}/tls.key is not the key of the certificate in {tmp_path}/tls.crt"
    )
    with pytest.raises(ConfigError, match=r"^ssl-certfile: /nowhere/tls.crt cannot be read: No such file"):
        check_input_files(config, "/nowhere")
