"""A page of shared memory: its readers see one whole state, whatever becomes of its writer."""

import mmap

from corehttp.ipc.page import PLACE, SIZE, VersionedPage


def page() -> tuple[VersionedPage, mmap.mmap]:
    memory = mmap.mmap(-1, SIZE + 8)
    return VersionedPage(memory, 0, SIZE), memory


def test_what_is_written_is_read() -> None:
    it, _ = page()
    assert it.read() == bytes(PLACE)
    for content in (b"one", b"two", b"three"):
        it.write(content)
        assert it.read().startswith(content)
        assert len(it.read()) == PLACE


def test_each_write_makes_a_new_version() -> None:
    it, _ = page()
    versions = []
    for _ in range(3):
        versions.append(it.version)
        it.write(b"x")
    assert versions == [0, 1, 2]


def test_a_writer_that_dies_while_it_writes_leaves_the_state_before() -> None:
    it, memory = page()
    it.write(b"whole")
    place = (it.version + 1) % 2 * PLACE
    memory[place : place + 2] = b"ha"  # all that a writer of "half" has come to
    assert it.read().startswith(b"whole")


def test_a_version_that_nobody_has_written_does_no_harm() -> None:
    it, memory = page()
    memory[SIZE:] = b"\xff" * 8
    it.write(b"content")
    assert it.version == 0
    assert it.read().startswith(b"content")


def test_a_reader_who_is_overtaken_looks_again() -> None:
    it, memory = page()
    it.write(b"first")

    class Overtaken(VersionedPage):
        """A page that is written between a reader's first looks at its version."""

        __slots__ = ("looks",)
        looks: int

        @property
        def version(self) -> int:
            self.looks += 1
            if self.looks == 2:
                it.write(b"second")
            return it.version

    reader = Overtaken(memory, 0, SIZE)
    reader.looks = 0
    assert reader.read().startswith(b"second")
    assert reader.looks == 4
