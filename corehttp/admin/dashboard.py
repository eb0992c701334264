"""The page that shows a service in a browser: one file, which needs nothing from elsewhere."""

import base64
import functools
import hashlib
import os
import re

from corehttp.admin.pages import Page

_FILE = os.path.join(os.path.dirname(__file__), "dashboard.html")


@functools.cache
def page() -> Page:
    """Return the page. The browser is told to run the script and to use the style in it, and nothing else."""
    with open(_FILE, "rb") as file:
        content = file.read()
    policy = (
        "default-src 'none'",
        f"script-src {_hashes(content, b'script')}",
        f"style-src {_hashes(content, b'style')}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    fields = ((b"content-security-policy", "; ".join(policy).encode()),)
    return Page(200, content, "text/html; charset=utf-8", fields)


def _hashes(content: bytes, tag: bytes) -> str:
    """Return the hashes of what stands in these elements, as a source list has them (CSP3, 2.3.1)."""
    found = re.findall(b"<%s>(.*?)</%s>" % (tag, tag), content, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)
