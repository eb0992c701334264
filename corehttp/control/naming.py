"""What a service is called where nobody has given it a name. Pure."""

import re

LONGEST = 64  # characters of a name


def default_name(app: str, address: str) -> str:
    """Return the module of the application, and the port or the file name of the socket on which it is served.

    `app` as in MODULE:ATTRIBUTE, `address` as in http://127.0.0.1:8000 or unix:/run/app.sock. For the application
    main:app on port 8000 it is main-8000.
    """
    module = app.partition(":")[0].rpartition("/")[2]
    if address.startswith("unix:"):
        place = address.removeprefix("unix:").rpartition("/")[2].removesuffix(".sock")
    else:
        place = address.rpartition(":")[2]
    tail = f"-{place}"[:24]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", module[: LONGEST - len(tail) - 3] + tail)
    return name if name[0].isalnum() else f"app{name}"
