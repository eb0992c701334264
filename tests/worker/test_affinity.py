"""Which worker a request belongs to, on a real scoreboard and inboxes, with a clock of the test."""

from collections import Counter
from collections.abc import Iterator

import pytest

from corehttp.asgi import Scope
from corehttp.ipc import handover, rendezvous
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import RowState, Scoreboard
from corehttp.ipc.sticky_area import share_inboxes
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.sticky_keys import parse_rule
from corehttp.sockets.address_choice import AddressRule, program
from corehttp.worker.affinity import WorkerAffinity, as_key
from corehttp.worker.siblings import Siblings
from tests.kit.apps import hello
from tests.kit.bpf import packet, run
from tests.kit.fakes import NOW, make_context

PATIENCE = 0.5


class Fleet:
    """Four workers, each with its view of who owns what; the test says which ones serve."""

    def __init__(self, *rules: str) -> None:
        self.board = Scoreboard.create()
        self.boxes = [handover.pair() for _ in range(4)]
        self.rows = [self.board.row(self.board.claim(slot)) for slot in range(4)]
        self.now = NOW
        self.siblings = [self._siblings(slot) for slot in range(4)]
        self.contexts = [make_context(hello, HttptoolsParser) for _ in range(4)]
        parsed = [parse_rule(rule) for rule in rules]
        self.workers = [
            WorkerAffinity(parsed, context, siblings, siblings.sticky_area(), PATIENCE, lambda: self.now)
            for context, siblings in zip(self.contexts, self.siblings, strict=True)
        ]
        for row in self.rows:
            row.state, row.beat = RowState.SERVING, NOW

    def _siblings(self, slot: int) -> Siblings:
        siblings = Siblings(self.board, slot, slot, self.boxes[slot][0].dup())
        siblings.meet(range(4), [writer.dup().detach() for _, writer in self.boxes])
        return siblings

    def owner(self, scope: Scope) -> int:
        """The slot on which all workers that serve agree."""
        found = {
            slot if (other := worker.elsewhere(scope)) is None else other
            for slot, worker in enumerate(self.workers)
            if self.rows[slot].state == RowState.SERVING and self.rows[slot].beat == self.now
        }
        assert len(found) == 1, found
        return found.pop()

    def leave(self, slot: int) -> None:
        """Let the worker of a slot leave, while others go on."""
        self.rows[slot].state = RowState.LEAVING
        self.contexts[slot].hand_over = lambda parcel: False

    def close(self) -> None:
        for siblings in self.siblings:
            siblings.close()
        for box in self.boxes:
            for end in box:
                end.close()
        self.board.close()


@pytest.fixture
async def fleet() -> Iterator[Fleet]:  # type: ignore[misc]
    fleet = Fleet("header:x-key", "cookie")
    yield fleet
    fleet.close()


def keyed(number: int) -> Scope:
    return {"headers": [(b"x-key", b"%d" % number)], "query_string": b"", "client": None}


def with_cookie(value: bytes) -> Scope:
    return {"headers": [(b"cookie", b"corehttp=" + value)], "query_string": b"", "client": None}


NO_KEY: Scope = {"headers": [], "query_string": b"", "client": None}


async def test_all_workers_agree_on_who_owns_a_key(fleet: Fleet) -> None:
    owners = [fleet.owner(keyed(number)) for number in range(100)]
    assert set(owners) == {0, 1, 2, 3}


async def test_a_request_without_a_key_is_served_where_it_is(fleet: Fleet) -> None:
    assert [worker.elsewhere(NO_KEY) for worker in fleet.workers] == [None] * 4


class Connection:
    def __init__(self, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared


async def test_clients_that_share_a_connection_begin_in_all_workers_and_not_where_it_is(fleet: Fleet) -> None:
    connection = Connection()
    ask = fleet.workers[1].elsewhere
    assert {ask(NO_KEY, connection) for _ in range(50)} == {None}, "all of them may be one client's"
    cookie = fleet.workers[1].ticket(NO_KEY)
    assert cookie is not None
    assert ask(with_cookie(cookie), connection) is None
    counted = Counter(ask(NO_KEY, connection) for _ in range(4000))
    assert set(counted) == {None, 0, 2, 3}
    assert all(800 < times < 1200 for times in counted.values()), counted
    fleet.leave(2)
    assert {ask(NO_KEY, connection) for _ in range(200)} == {None, 0, 3}
    fleet.leave(1)
    assert ask(NO_KEY, connection) is None


async def test_where_the_server_sets_no_cookie_all_without_a_key_are_served_where_they_are() -> None:
    fleet = Fleet("header:x-key")
    assert {fleet.workers[0].elsewhere(NO_KEY, Connection(is_shared=True)) for _ in range(50)} == {None}
    fleet.close()


@pytest.mark.parametrize("how", ["leaves", "is blocked", "is full", "has ended"])
async def test_keys_of_a_worker_that_takes_nothing_go_to_others_and_come_back(fleet: Fleet, how: str) -> None:
    before = [fleet.owner(keyed(number)) for number in range(100)]
    row = fleet.rows[2]
    if how == "leaves":
        fleet.leave(2)
    elif how == "is blocked":
        fleet.now += 2 * PATIENCE
        for other in (0, 1, 3):
            fleet.rows[other].beat = fleet.now
    elif how == "is full":
        row.limit = row.connections = 5
    else:
        fleet.board.release(2)
    for number, owner in enumerate(before):
        views = [(slot, fleet.workers[slot].elsewhere(keyed(number))) for slot in (0, 1, 3)]
        found = {slot if other is None else other for slot, other in views}
        assert len(found) == 1, "the others agree"
        assert (found == {owner}) == (owner != 2), "only the keys of that worker move"
        assert found != {2}


async def test_a_worker_that_leaves_has_its_keys_served_by_the_successor_in_its_slot(fleet: Fleet) -> None:
    number = next(number for number in range(100) if fleet.owner(keyed(number)) == 2)
    fleet.leave(2)
    assert fleet.workers[2].elsewhere(keyed(number)) not in (None, 2)
    successor = fleet.board.row(fleet.board.claim(2))
    assert fleet.owner(keyed(number)) == 2, "it is about to serve"
    successor.state, successor.beat = RowState.SERVING, NOW
    assert fleet.owner(keyed(number)) == 2
    assert fleet.workers[2].elsewhere(keyed(number)) == 2, "its own inbox is the successor's by now"


async def test_a_successor_that_was_told_to_serve_has_the_keys_before_it_runs_and_when_the_old_one_is_gone(
    fleet: Fleet,
) -> None:
    number = next(number for number in range(100) if fleet.owner(keyed(number)) == 2)
    successor = fleet.board.row(fleet.board.claim(2))
    successor.beat = NOW
    fleet.board.release(2)
    fleet.leave(2)
    assert fleet.owner(keyed(number)) != 2, "it is still starting"
    successor.told = 1
    assert fleet.owner(keyed(number)) == 2
    fleet.now += 2 * PATIENCE
    for slot in (0, 1, 3):
        fleet.rows[slot].beat = fleet.now
    assert fleet.owner(keyed(number)) != 2, "it is blocked"


async def test_a_slot_that_changes_hands_while_the_rows_are_read_keeps_its_keys(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = next(number for number in range(100) if fleet.owner(keyed(number)) == 2)
    fleet.board.release(0)
    successor = fleet.board.row(fleet.board.claim(2))
    assert successor.start < fleet.rows[2].start, "it is read first"
    successor.beat = NOW
    starts = fleet.board._starts()

    def replace_after_the_first() -> Iterator[int]:
        yield starts[0]
        if not successor.told:
            successor.told = 1
            fleet.board.release(2)
        yield from starts[1:]

    monkeypatch.setattr(fleet.board, "_starts", replace_after_the_first)
    assert fleet.workers[1].elsewhere(keyed(number)) == 2


async def test_a_worker_that_stops_with_all_others_serves_what_it_has(fleet: Fleet) -> None:
    for context in fleet.contexts:
        context.draining = True
    assert [worker.elsewhere(keyed(1)) for worker in fleet.workers] == [None] * 4


async def test_where_nobody_takes_anything_a_request_is_served_where_it_is(fleet: Fleet) -> None:
    for slot in range(4):
        fleet.leave(slot)
    assert [worker.elsewhere(keyed(1)) for worker in fleet.workers] == [None] * 4


async def test_a_worker_of_another_supervisor_has_the_inbox_of_the_owner_during_an_upgrade(fleet: Fleet) -> None:
    owners = [fleet.owner(keyed(number)) for number in range(40)]
    share_inboxes(fleet.board.fd, 4)
    for slot in range(4):
        fleet.leave(slot)
        for worker in fleet.workers[: slot + 1]:
            assert [worker.elsewhere(keyed(number)) for number in range(40)] == owners
    share_inboxes(fleet.board.fd, 0)
    assert [worker.elsewhere(keyed(1)) for worker in fleet.workers] == [None] * 4


async def test_a_slot_that_the_supervisor_of_before_did_not_have_is_passed_nothing_until_it_has_a_worker(
    fleet: Fleet,
) -> None:
    owners = [fleet.owner(keyed(number)) for number in range(100)]
    for slot in (1, 3):
        fleet.rows[slot].state = RowState.STARTING
    share_inboxes(fleet.board.fd, 3)
    for number, owner in enumerate(owners):
        found = fleet.owner(keyed(number))
        assert found == owner if owner != 3 else found in (0, 1, 2)


async def test_the_cookie_of_the_server_names_the_owner(fleet: Fleet) -> None:
    for slot, worker in enumerate(fleet.workers):
        value = worker.ticket(NO_KEY)
        assert value is not None
        assert fleet.owner(with_cookie(value)) == slot
        assert worker.ticket(with_cookie(value)) is None, "it is set once"


async def test_a_forged_cookie_is_no_key_and_is_replaced(fleet: Fleet) -> None:
    forged = with_cookie(b"2." + b"0" * 24)
    assert [worker.elsewhere(forged) for worker in fleet.workers] == [None] * 4
    assert all(worker.ticket(forged) for worker in fleet.workers)


@pytest.mark.parametrize("others", [b"corehttp=2." + b"0" * 24, b"corehttp=; corehttp=x; a=b"])
async def test_a_cookie_of_the_server_counts_whatever_others_of_its_name_come_with_it(
    fleet: Fleet, others: bytes
) -> None:
    for slot, worker in enumerate(fleet.workers):
        own = b"corehttp=%b" % (worker.ticket(NO_KEY) or b"")
        for cookies in ((others + b"; " + own,), (own + b"; " + others,), (others, own)):
            several: Scope = {
                "headers": [(b"cookie", value) for value in cookies],
                "query_string": b"",
                "client": None,
            }
            assert fleet.owner(several) == slot
            assert worker.ticket(several) is None, "the client has one"


async def test_the_first_rule_that_gives_a_key_counts(fleet: Fleet) -> None:
    value = next(value for worker in fleet.workers if (value := worker.ticket(NO_KEY)))
    for number in range(20):
        both = {**with_cookie(value)}
        both["headers"] = keyed(number)["headers"] + both["headers"]
        assert fleet.owner(both) == fleet.owner(keyed(number))
    assert fleet.workers[0].ticket(keyed(1)) is None, "it needs no cookie"


async def test_the_cookie_of_a_worker_that_is_no_more_leads_to_one_other(fleet: Fleet) -> None:
    value = rendezvous.token(fleet.siblings[0].sticky_area().secret, 7)
    assert fleet.owner(with_cookie(value)) in range(4)


async def test_one_worker_alone_sets_no_cookie() -> None:
    fleet = Fleet("cookie")
    alone = Siblings(fleet.board, 0, 0, fleet.boxes[0][0].dup())
    alone.meet([0], [fleet.boxes[0][1].dup().detach()])
    worker = WorkerAffinity([parse_rule("cookie")], fleet.contexts[0], alone, alone.sticky_area(), PATIENCE)
    assert worker.ticket(NO_KEY) is None
    alone.close()
    fleet.close()


async def test_a_connection_is_put_into_the_inbox_of_the_owner(fleet: Fleet) -> None:
    assert fleet.workers[0].put(3, Parcel(fleet.boxes[0][0].fileno(), NOW, held=b"GET"))
    taken = handover.InboxQueue(fleet.boxes[3][0].dup())
    with pytest.raises(ConnectionAbortedError):  # the descriptor of the test is no connection
        taken.take()
    taken.close()
    assert fleet.siblings[0].row.handed_over == 1


async def test_a_value_that_was_bound_belongs_to_the_worker_that_has_bound_it(fleet: Fleet) -> None:
    owners = [fleet.owner(keyed(number)) for number in range(40)]
    for number in range(40):
        fleet.workers[number % 4].bind(str(number))
    assert [fleet.owner(keyed(number)) for number in range(40)] == [number % 4 for number in range(40)] != owners
    fleet.workers[3].bind(b"0")
    assert fleet.owner(keyed(0)) == 3, "the last binding counts"


async def test_a_value_of_a_worker_that_leaves_is_served_by_another_one_and_then_by_its_successor(fleet: Fleet) -> None:
    number = next(number for number in range(100) if fleet.owner(keyed(number)) != 2)
    fleet.workers[2].bind(str(number))
    fleet.leave(2)
    assert fleet.owner(keyed(number)) != 2
    fleet.board.row(fleet.board.claim(2))
    assert fleet.owner(keyed(number)) == 2


async def test_what_was_bound_is_no_address() -> None:
    fleet = Fleet("ip", "query:key")
    request: Scope = {"headers": [], "query_string": b"key=192.0.2.1", "client": ("192.0.2.1", 1)}
    owner = fleet.owner(request)
    fleet.workers[(owner + 1) % 4].bind("192.0.2.1")
    assert fleet.owner(request) == owner
    assert fleet.owner({**request, "client": None}) == (owner + 1) % 4
    fleet.close()


def client(address: str) -> Scope:
    return {"headers": [], "query_string": b"", "client": (address, 1)}


@pytest.mark.parametrize("rules", [("ip",), ("header:x-key", "ip", "cookie")])
async def test_an_address_belongs_to_the_worker_to_which_the_kernel_gives_its_connections(
    rules: tuple[str, ...],
) -> None:
    fleet = Fleet(*rules)
    secret = fleet.siblings[0].sticky_area().secret
    steps = program(AddressRule(secret, frozenset({0}), ()), [(slot, slot) for slot in range(4)])
    assert steps is not None
    addresses = [*(f"192.0.2.{number}" for number in range(40)), *(f"2001:db8::{number:x}" for number in range(40))]
    found = [fleet.owner(client(address)) for address in addresses]
    assert found == [run(steps, packet(address)) for address in addresses]
    assert set(found) == {0, 1, 2, 3}
    fleet.leave(2)
    left = program(AddressRule(secret, frozenset({0}), ()), [(slot, slot) for slot in (0, 1, 3)])
    assert left is not None
    assert [fleet.owner(client(address)) for address in addresses] == [run(left, packet(one)) for one in addresses]
    fleet.close()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        *(("::ffff:192.0.2.7", "192.0.2.7"), ("::ffff:c000:207", "192.0.2.7"), ("fe80::1%eth0", "fe80::1")),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
async def test_an_address_is_the_same_however_it_is_written(written: str, address: str) -> None:
    for number in range(5):  # each time with another secret
        fleet = Fleet("ip")
        assert fleet.owner(client(written)) == fleet.owner(client(address)), number
        fleet.close()


@pytest.mark.parametrize(
    "name", ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "1:2", "a\0b", "\xe9", "%", "x" * 5000]
)
async def test_what_is_no_address_belongs_to_one_worker_too(name: str) -> None:
    fleet = Fleet("ip")
    assert fleet.owner(client(name)) in range(4)
    fleet.close()


@pytest.mark.parametrize("value", [None, 7, ["a"]])
async def test_only_text_and_bytes_can_be_bound(fleet: Fleet, value: object) -> None:
    for bind in (fleet.workers[0].bind, as_key):
        with pytest.raises(TypeError, match="text or bytes"):
            bind(value)  # type: ignore[arg-type]


async def test_text_that_utf8_cannot_express_is_refused(fleet: Fleet) -> None:
    for bind in (fleet.workers[0].bind, as_key):
        with pytest.raises(ValueError, match="surrogates not allowed"):
            bind("\ud800")
