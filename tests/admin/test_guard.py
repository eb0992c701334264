"""Who may see what of the admin listener, as a table."""

import base64

import pytest

from corehttp.admin.guard import Admittance, Asker, Origin, admit, origin_of

NAMES = frozenset({"web-1", "web-1.internal", "admin.example"})
TOKEN = "sesame-sesame"
GRANTED, HOST, NEEDED = Admittance.GRANTED, Admittance.HOST_REFUSED, Admittance.TOKEN_NEEDED


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("origin", "host", "private", "public"),
    [
        (Origin.LOOPBACK, "127.0.0.1:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, "[::1]:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, "localhost", GRANTED, GRANTED),
        (Origin.LOOPBACK, "LocalHost.:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, "shop.localhost:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, "Web-1.internal:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, "10.1.2.3:9100", GRANTED, GRANTED),
        (Origin.LOOPBACK, None, GRANTED, GRANTED),
        (Origin.LOOPBACK, "evil.example", HOST, HOST),
        (Origin.LOOPBACK, "evil.example:9100", HOST, HOST),
        (Origin.LOOPBACK, "127.0.0.1.evil.example", HOST, HOST),
        (Origin.LOOPBACK, "localhost.evil.example", HOST, HOST),
        (Origin.LOOPBACK, "evil-localhost", HOST, HOST),
        (Origin.LOOPBACK, "", HOST, HOST),
        (Origin.UNIX, "localhost", GRANTED, GRANTED),
        (Origin.UNIX, "evil.example", HOST, HOST),
        (Origin.NETWORK, "10.1.2.3:9100", NEEDED, GRANTED),
        (Origin.NETWORK, "web-1.monitoring.svc:9100", NEEDED, GRANTED),
        (Origin.NETWORK, None, NEEDED, GRANTED),
    ],
)
def test_who_comes_without_a_token(origin: Origin, host: str | None, private: Admittance, public: Admittance) -> None:
    asker = Asker(origin, host, None, forwarded=False)
    for token in (None, TOKEN):
        assert admit(asker, private=True, token=token, names=NAMES) is private
        assert admit(asker, private=False, token=token, names=NAMES) is public


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic(TOKEN), basic(TOKEN, "")])
def test_who_has_the_token_sees_all_from_wherever(origin: Origin, authorization: str) -> None:
    asker = Asker(origin, "shop.example", authorization, forwarded=True)
    assert admit(asker, private=True, token=TOKEN, names=NAMES) is GRANTED


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer ", "Bearer sesame-sesam", "Bearer sesame-sesame2", TOKEN, f"Digest {TOKEN}"),
        *("Basic", "Basic %%%", f"Basic {TOKEN}", basic("wrong"), basic("", TOKEN), "Bearer \xff\xfe", "Basic \xff"),
    ],
)
def test_a_wrong_token_is_none(authorization: str) -> None:
    asker = Asker(Origin.NETWORK, "10.1.2.3", authorization, forwarded=False)
    assert admit(asker, private=True, token=TOKEN, names=NAMES) is NEEDED
    assert admit(asker, private=True, token=None, names=NAMES) is NEEDED


@pytest.mark.parametrize("origin", [Origin.LOOPBACK, Origin.UNIX])
def test_a_proxy_on_this_machine_does_not_make_its_clients_this_machine(origin: Origin) -> None:
    asker = Asker(origin, "localhost", None, forwarded=True)
    assert admit(asker, private=True, token=None, names=NAMES) is NEEDED
    assert admit(asker, private=False, token=None, names=NAMES) is GRANTED


@pytest.mark.parametrize(
    ("client", "origin"),
    [
        (None, Origin.UNIX),
        (("127.0.0.1", 5), Origin.LOOPBACK),
        (("127.8.8.8", 5), Origin.LOOPBACK),
        (("::1", 5), Origin.LOOPBACK),
        (("10.0.0.1", 5), Origin.NETWORK),
        (("::ffff:1", 5), Origin.NETWORK),
        (("1127.0.0.1", 5), Origin.NETWORK),
    ],
)
def test_from_where_a_client_comes(client: object, origin: Origin) -> None:
    assert origin_of(client) is origin
