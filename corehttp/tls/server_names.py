"""Which certificates a client is shown, by the server name that it asks for (SNI: RFC 6066, 3). Pure."""

from collections.abc import Sequence

from corehttp.tls.certificate import Certificate

# Numbers of certificates, each with another kind of key: OpenSSL takes the one that the client can use.
Choice = tuple[int, ...]


class ServerNames:
    """The names of some certificates. The first one is for clients whose server name no other one fits."""

    def __init__(self, certificates: Sequence[Certificate]) -> None:
        """Read the names of the certificates, one or more."""
        self._certificates = certificates
        holders: dict[str, list[int]] = {}
        for number, certificate in enumerate(certificates):
            for name in certificate.names:
                holders.setdefault(name, []).append(number)
        self._choices = {name: self._one_of_each_kind(numbers) for name, numbers in holders.items()}
        first = next(iter(certificates[0].names), "")
        self.default = self._one_of_each_kind([0, *holders.get(first, [])])

    @property
    def choices(self) -> set[Choice]:
        """Every choice that `choose` can return."""
        return {self.default, *self._choices.values()}

    def choose(self, server_name: str | None) -> Choice:
        """Return the certificates for a client that asks for this name; None if it asks for none.

        Those with exactly this name come before those with a wildcard, which stands for one label (RFC 6125, 6.4.3).
        """
        if not server_name:
            return self.default
        name = server_name.lower().removesuffix(".")
        _, _, domain = name.partition(".")
        return self._choices.get(name) or self._choices.get(f"*.{domain}") or self.default

    def never_shown(self) -> list[int]:
        """Return the numbers of the certificates that no client is ever shown: earlier ones have all their names."""
        shown = {number for choice in self.choices for number in choice}
        return [number for number in range(len(self._certificates)) if number not in shown]

    def _one_of_each_kind(self, numbers: Sequence[int]) -> Choice:
        """Return the first certificate of each kind of key among those with these numbers."""
        kinds: dict[bytes, int] = {}
        for number in numbers:
            kinds.setdefault(self._certificates[number].key_kind, number)
        return tuple(kinds.values())
