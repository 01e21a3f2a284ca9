"""Command lines from data classes: a field is an option, declared once with its default, help and choices."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, field, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..runtime.errors import PscrError, Status

T = TypeVar("T")
_KEY = "option"


class Formatter(argparse.HelpFormatter):
    """Help that names an option's default where there is one to name."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        unsaid = default in (None, argparse.SUPPRESS, "", (), []) or isinstance(default, bool)
        return text if unsaid or "(default" in text else f"{text} (default: %(default)s)"


def option(
    default: Any = MISSING,
    *,
    help: str,
    factory: Any = MISSING,
    group: str = "",
    short: str = "",
    positional: bool = False,
    **settings: Any,
) -> Any:
    """A field of a data class that is an option of a command, called as the field is: `head_lr` is `--head-lr`.

    default: left out, as `factory` is, for one that must be given. factory: makes the default. group: the title that
        it stands below in the help. short: another name of it, such as "-o". positional: an argument without a name.
    settings: more of what `ArgumentParser.add_argument` takes, such as choices and metavar. What is not among them
        follows from the field's type: a bool is a switch, a tuple several words, X | None an X.
    """
    settings["help"] = help
    metadata = {_KEY: {"group": group, "short": short, "positional": positional, "settings": settings}}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


def parser(prog: str, description: str, *declared: type, **more: Any) -> argparse.ArgumentParser:
    """A parser with the options of data classes. more: of `ArgumentParser`."""
    result = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=Formatter, allow_abbrev=False, **more
    )
    for one in declared:
        add_options(result, one)
    return result


def add_options(command: argparse.ArgumentParser, declared: type) -> None:
    """Add the options of a data class to a parser, in the order of its fields."""
    hints, known = get_type_hints(declared), defaults(declared)
    groups: dict[str, Any] = {"": command}
    for one in fields(declared):
        found = one.metadata[_KEY]
        if found["group"] not in groups:
            groups[found["group"]] = command.add_argument_group(found["group"])
        settings = {**_kind(hints[one.name]), **found["settings"]}
        add: Callable[..., argparse.Action] = groups[found["group"]].add_argument
        if found["positional"]:
            add(one.name, **settings)
            continue
        names = [*filter(None, [found["short"]]), "--" + one.name.replace("_", "-")]
        needed = {"default": known[one.name]} if one.name in known else {"required": True}
        add(*names, dest=one.name, **needed, **settings)


def defaults(declared: type) -> dict[str, Any]:
    """The default of every field of a data class that has one."""
    found = {}
    for one in fields(declared):
        if one.default is not MISSING:
            found[one.name] = one.default
        elif one.default_factory is not MISSING:
            found[one.name] = one.default_factory()
    return found


def given(declared: type[T], arguments: argparse.Namespace) -> T:
    """The data class with what a parser has read."""
    values = {one.name: getattr(arguments, one.name) for one in fields(declared)}  # type: ignore[arg-type]
    return declared(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def read(declared: type[T], command: argparse.ArgumentParser, words: Sequence[str] | None) -> T:
    """The data class with what stands on a command line; None for that of the program."""
    return given(declared, command.parse_args(words))


def check_same(
    begun: T,
    wanted: T,
    origin: object,
    anywhere: Collection[str],
    same: Callable[[str, Any, Any], bool] = lambda name, one, other: bool(one == other),
) -> None:
    """See that what was begun with one configuration may go on with another, both of one data class.

    origin: the file that the first was read from. anywhere: options that may differ. same: whether two values of an
    option, by its name, are the same.

    Raises:
        PscrError: INVALID_ARGUMENT naming the first option that differs.
    """
    for one in fields(wanted):  # type: ignore[arg-type]
        was, now = getattr(begun, one.name), getattr(wanted, one.name)
        if one.name not in anywhere and not same(one.name, was, now):
            found = f"{origin}: made with another configuration ({one.name} was {was!r}, now {now!r})"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; choose another -o folder")


def _kind(hint: Any) -> dict[str, Any]:
    """What a field's type says of its option."""
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) in (Union, UnionType):
        return _kind(next(part for part in get_args(hint) if part is not NoneType))
    if get_origin(hint) is tuple:
        first, *rest = get_args(hint)
        return {"type": first, "nargs": "+" if rest == [Ellipsis] else 1 + len(rest)}
    return {"type": hint}
