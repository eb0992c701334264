"""Where OpenSSL's functions cannot be called, a context stays as it was."""

import ctypes
import ssl
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from corehttp.tls import openssl

KEYS = bytes(range(openssl.TICKET_KEYS))


@pytest.fixture(autouse=True)
def library_is_found_anew() -> Iterator[None]:
    openssl._library.cache_clear()
    yield
    openssl._library.cache_clear()


@pytest.fixture
def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def are_unset(context: ssl.SSLContext) -> bool:
    is_set = (
        openssl.set_groups(context, "X25519"),
        openssl.set_suites(context, "TLS_AES_128_GCM_SHA256"),
        openssl.set_ticket_keys(context, KEYS),
    )
    return not any(is_set)


def test_an_interpreter_whose_objects_nobody_knows_is_left_alone(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssl, "_KNOWN_RELEASES", ((3, 9), (3, 10)))
    assert are_unset(context)
    openssl._library.cache_clear()
    monkeypatch.setattr(openssl, "_KNOWN_RELEASES", ((3, 9), (4, 0)))
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
    assert are_unset(context)


@pytest.mark.parametrize("library", [OSError("it cannot be opened"), SimpleNamespace()])
def test_a_library_that_cannot_be_called_is_done_without(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    def load(path: object) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert are_unset(context)


def test_another_field_than_the_pointer_is_never_called_with(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    class Function:
        def __call__(self, *arguments: object) -> int:
            called.append(arguments)
            return 0  # other options than Python says

    library = SimpleNamespace(SSL_CTX_get_options=Function(), SSL_CTX_ctrl=None, ERR_clear_error=None)
    monkeypatch.setattr(openssl, "_library", lambda: library)
    context.options |= ssl.OP_NO_COMPRESSION
    assert openssl._control(context, 1, 0, None) == 0
    assert len(called) == 1


def test_a_group_that_openssl_does_not_know_changes_nothing(context: ssl.SSLContext) -> None:
    assert not openssl.set_groups(context, "no-such-group")


def test_a_suite_that_openssl_does_not_know_is_passed_over(context: ssl.SSLContext) -> None:
    assert openssl.set_suites(context, "no-such-suite:TLS_AES_128_GCM_SHA256")
    of_1_3 = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.3"]
    assert of_1_3 == ["TLS_AES_128_GCM_SHA256"]
