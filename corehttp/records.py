"""Classes that are made of their annotations, as those of `dataclasses` are, at a fraction of the cost at start.

`dataclasses` writes the text of an `__init__` and other methods for each class and compiles it, and imports `inspect`.
With it CPython 3.13 takes 114 ms of CPU time to import the supervisor's modules (`import corehttp.supervision`), and
with the classes of this module 63 ms and 2.4 MiB less. An instance takes 3 us longer to make: a class whose instances
are made for each request or connection stays a dataclass.

The functions of `dataclasses`, such as `replace` and `asdict`, take these classes too.
"""

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


class _Fresh:
    """The default of a field of which each instance gets a value of its own."""

    def __init__(self, factory: Callable[[], object]) -> None:
        self.make = factory


def fresh(*, factory: Callable[[], T]) -> T:
    """Declare a field of a record whose default is made by `factory` for each instance."""
    default: Any = _Fresh(factory)
    return default  # type: ignore[no-any-return]


@dataclass_transform(frozen_default=True, field_specifiers=(fresh,))
def record(cls: type[T]) -> type[T]:
    """Make a class of its annotations, as `dataclass(frozen=True)` does: its instances are not changed.

    To set or delete an attribute raises AttributeError; `__post_init__` uses `object.__setattr__`. The fields are those
    of the class alone, not those of its bases.
    """
    _complete(cls, {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete, "__hash__": _hash})
    return cls


@dataclass_transform(field_specifiers=(fresh,))
def mutable_record(cls: type[T]) -> type[T]:
    """Make a class of its annotations, as `dataclass` does: its instances may be changed, and have no hash."""
    _complete(cls, {"__hash__": None})
    return cls


def field_names(cls: type) -> tuple[str, ...]:
    """Return the names of a record's fields in their order."""
    names: tuple[str, ...] = cls.__match_args__  # type: ignore[attr-defined]
    return names


def values(record: object) -> dict[str, Any]:
    """Return the values of a record's fields by their names, in their order."""
    return {name: getattr(record, name) for name in field_names(type(record))}


def replaced(record: T, **changes: object) -> T:
    """Return a record like this one but for these fields. Raises TypeError for a field that it does not have."""
    return type(record)(**{**values(record), **changes})


def _complete(cls: type, methods: dict[str, object]) -> None:
    """Give a class what makes it a record; what it defines itself stays."""
    names = tuple(cls.__annotations__)
    defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
    for name, default in defaults.items():
        if isinstance(default, _Fresh):
            delattr(cls, name)
    factories = [(name, default.make) for name, default in defaults.items() if isinstance(default, _Fresh)]
    own = {
        "__match_args__": names,
        "__dataclass_fields__": _DataclassFields(defaults),
        "_record_defaults": {name: value for name, value in defaults.items() if not isinstance(value, _Fresh)},
        "_record_factories": factories,
        "__init__": _initialize,
        "__repr__": _represent,
        "__eq__": _is_equal,
        **methods,
    }
    for name, value in own.items():
        if name not in vars(cls) or (name == "__hash__" and "__eq__" not in vars(cls)):
            setattr(cls, name, value)


def _initialize(self: Any, /, *args: object, **named: object) -> None:
    """Set the fields of a record from arguments and defaults; raises TypeError as a dataclass does."""
    names, content = self.__match_args__, dict(zip(self.__match_args__, args, strict=False))
    if len(args) > len(names) or named.keys() & content.keys():
        raise TypeError(f"{type(self).__name__} takes each of its fields once: {', '.join(names)}")
    content = {**self._record_defaults, **content, **named}
    for name, make in self._record_factories:
        if name not in content:
            content[name] = make()
    if len(content) != len(names) or not all(name in content for name in names):
        raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}, and not {', '.join(content)}")
    vars(self).update(content)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _content(self: Any) -> tuple[object, ...]:
    return tuple(getattr(self, name) for name in self.__match_args__)


def _is_equal(self: Any, other: object) -> bool:
    return _content(self) == _content(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_content(self))


def _represent(self: Any) -> str:
    content = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({content})"


def _refuse_to_set(self: object, name: str, value: object) -> None:
    raise AttributeError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> None:
    raise AttributeError(f"cannot delete field {name!r}")


class _DataclassFields:
    """What the functions of `dataclasses` know a class by: made, once, when one of them asks for it."""

    def __init__(self, defaults: dict[str, object]) -> None:
        self._defaults = defaults

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        import dataclasses  # imported here, because no process of a service needs it for its records

        content = {
            name: dataclasses.field(default_factory=default.make) if isinstance(default, _Fresh) else default
            for name, default in self._defaults.items()
        }
        double = type(owner.__name__, (), {**content, "__annotations__": owner.__annotations__})
        fields: dict[str, Any] = dataclasses.dataclass(double).__dataclass_fields__  # type: ignore[attr-defined]
        owner.__dataclass_fields__ = fields  # type: ignore[attr-defined]  # takes the place of this descriptor
        return fields
