"""What follows a response, as a table of all cases."""

from itertools import product

import pytest

from corehttp.protocols.http1.state import Next, after_response

LIMIT = 100


@pytest.mark.parametrize(
    ("persistent", "body_unread", "body_doubtful", "unread", "step"),
    [
        (True, False, False, 0, Next.READ_NEXT),
        (True, True, False, 1, Next.DISCARD_BODY),
        (True, True, False, LIMIT, Next.DISCARD_BODY),
        (True, True, False, LIMIT + 1, Next.CLOSE),
        (True, True, False, -1, Next.DISCARD_BODY),
        (True, True, True, 1, Next.CLOSE),
        (True, True, True, -1, Next.CLOSE),
        (False, False, False, 0, Next.CLOSE),
        (False, True, False, 1, Next.CLOSE),
    ],
)
def test_a_connection_goes_on_only_where_the_next_request_can_be_found(
    persistent: bool, body_unread: bool, body_doubtful: bool, unread: int, step: Next
) -> None:
    assert (
        after_response(
            persistent=persistent, body_unread=body_unread, body_doubtful=body_doubtful, unread=unread, limit=LIMIT
        )
        is step
    )


def test_a_response_that_announced_the_end_is_always_followed_by_it() -> None:
    for body_unread, body_doubtful, unread in product((True, False), (True, False), (-1, 0, 1, LIMIT, LIMIT + 1)):
        step = after_response(
            persistent=False, body_unread=body_unread, body_doubtful=body_doubtful, unread=unread, limit=LIMIT
        )
        assert step is Next.CLOSE
