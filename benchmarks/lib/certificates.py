"""The certificate of the servers that are measured over TLS: on P-256, as public authorities issue most by now."""

import subprocess
from pathlib import Path

CERTIFICATE, KEY = "tls.crt", "tls.key"  # the names of the files


def make_certificate(directory: str) -> None:
    """Write a certificate that nobody has issued, and its key, into a directory; openssl must be installed."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(Path(directory, KEY)), "-out", str(Path(directory, CERTIFICATE))]
    subprocess.run(["openssl", "req", "-x509", *curve, *names, *files], check=True, capture_output=True)
