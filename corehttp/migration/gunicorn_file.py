"""A gunicorn.conf.py, read without being run: it is a program, which may do anything. Pure.

Values are literals, names that were set before, texts and numbers that are put together of these, and variables of the
environment, for which the default in the file stands. Whatever else the program computes is told, with its line.
"""

import ast
import functools
import operator
from collections.abc import Callable
from typing import Any

from corehttp.records import fresh, mutable_record

LONGEST = 4096  # characters of the longest text, and elements of the longest list, that is read
MOST_BITS = 64  # of the largest whole number that is read

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "str": str, "bool": bool}
_CPU_COUNTS = ("cpu_count", "process_cpu_count", "sched_getaffinity")


@mutable_record
class SettingsFile:
    """What a configuration file of gunicorn sets."""

    values: dict[str, Any] = fresh(factory=dict)  # names and their values, as far as these can be read
    computed: dict[str, str] = fresh(factory=dict)  # the other names, with the line and text of what computes each
    of_cpus: set[str] = fresh(factory=set)  # those of them that are computed of a number of CPUs
    defaults: list[str] = fresh(factory=list)  # variables of the environment that it reads
    fault: str = ""  # why it is not Python, with the line; empty if it is


class _ComputedError(Exception):
    """A value that only the running program knows."""


def read_settings(text: str) -> SettingsFile:
    """Return what a file sets."""
    found = SettingsFile()
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        found.fault = line + (error.msg if isinstance(error, SyntaxError) else str(error) or "it is nested too deeply")
        return found
    for statement in body:
        _read(statement, found)
    return found


def _read(statement: ast.stmt, found: SettingsFile) -> None:
    """Add to `found` what a statement at the top of the file sets."""
    match statement:
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            _set(name, value, found)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            found.values[name] = True  # a hook, if its name is that of one
        case ast.Import() | ast.ImportFrom() | ast.Expr() | ast.ClassDef() | ast.Pass():
            pass
        case _:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    _give_up(node.id, statement, found)


def _set(name: str, value: ast.expr, found: SettingsFile) -> None:
    """Add a name with the value of an expression, or note that only the running program knows it."""
    try:
        found.values[name] = _value(value, found)
    except (_ComputedError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError):
        _give_up(name, value, found)
    else:
        found.computed.pop(name, None)


def _give_up(name: str, node: ast.AST, found: SettingsFile) -> None:
    """Note that only the running program knows a value."""
    words = {getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(node)}
    if words.intersection(_CPU_COUNTS) or words & found.of_cpus:
        found.of_cpus.add(name)
    found.values.pop(name, None)
    found.computed[name] = f"line {getattr(node, 'lineno', 0)}: {_first_line(node)}"


def _first_line(node: ast.AST) -> str:
    """Return the beginning of a node's text; "..." where Python cannot write it, as too deep or of too many digits."""
    try:
        return ast.unparse(node).partition("\n")[0][:80]
    except (ValueError, RecursionError):
        return "..."


def _value(node: ast.expr, found: SettingsFile) -> Any:
    """Return the value of an expression; raises what `_set` catches, also for a value that is too large."""
    return _bounded(_unbounded_value(node, found))


def _bounded(value: Any) -> Any:
    """Return a value that is not too large. Raises _ComputedError: lines that double one could make it of any size."""
    match value:
        case str() | bytes() | list():
            is_too_large = len(value) > LONGEST
        case int():
            is_too_large = value.bit_length() > MOST_BITS
        case _:
            is_too_large = False
    if is_too_large:
        raise _ComputedError
    return value


def _unbounded_value(node: ast.expr, found: SettingsFile) -> Any:
    """Return the value of an expression whose parts are not too large; raises what `_set` catches."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            if name not in found.values:
                raise _ComputedError
            return found.values[name]
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return _flat([_value(element, found) for element in elements])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, found)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _combined(_OPERATORS[type(op)], _value(left, found), _value(right, found))
        case ast.BoolOp(op=ast.Or(), values=parts):
            return next((value for value in (_value(part, found) for part in parts) if value), None)
        case ast.JoinedStr(values=parts):
            return functools.reduce(lambda text, part: _bounded(text + str(_value(part, found))), parts, "")
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            return _value(value, found)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _CASTS:
            return _CASTS[name](_value(argument, found))
        case ast.Call(func=function, args=[variable, *default], keywords=[]) if _reads_environment(function):
            found.defaults.append(str(_value(variable, found)))
            return _value(default[0], found) if default else None
        case _:
            raise _ComputedError


def _flat(elements: list[Any]) -> list[Any]:
    """Return the elements of a list. Raises _ComputedError for lists in it, of which no setting has any."""
    if any(isinstance(element, list) for element in elements):
        raise _ComputedError
    return elements


def _combined(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Return what an operator makes of two values. Raises _ComputedError for texts and lists that are not added."""
    if operation is not operator.add and any(isinstance(value, str | bytes | list) for value in (left, right)):
        raise _ComputedError
    return operation(left, right)


def _reads_environment(function: ast.expr) -> bool:
    """Whether a function, by its name, returns a variable of the environment or a default."""
    return ast.unparse(function) in ("os.environ.get", "os.getenv", "environ.get", "getenv")
