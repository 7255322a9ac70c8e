"""A field of a notebook's parameters: how it is declared, checked and shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field
from functools import lru_cache
from typing import Any, get_args, get_origin, get_type_hints

from bertprune.base.errors import UserError, did_you_mean

_LARGEST_WHOLE_NUMBER = 2**31 - 1
"""As a seed or a count, all libraries take it."""

type_hints: Callable[[type], dict[str, Any]] = lru_cache(get_type_hints)
"""The types of a class's fields: a command asks for thousands of runs and records."""


def parameter(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field: at least `low`, at most `high`, more than `above`, or one of `choices`."""
    metadata = {"help": help, "low": low, "high": high, "above": above, "choices": choices}
    return field(default=default, metadata=metadata)


def checked(name: str, value: object, kind: Any, limits: Mapping[str, Any]) -> object:
    """`value` as the parameter `name` of type `kind` has it: a single one stands for a list of one.

    Raises UserError for another type, a value out of range, and an empty entry of a list.
    """
    if get_origin(kind) is tuple:
        many = value if isinstance(value, list | tuple) else [value]
        if "" in many:
            raise UserError(f"{name} has an empty entry: {shown(many)}")
        return tuple(checked(name, one, get_args(kind)[0], limits) for one in many)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            # Minus zero, as some arithmetic gives, is zero: its run would be another.
            value = float(value) + 0.0
    if type(value) is not kind:
        wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
        raise UserError(f"{name} must be {wanted}, got {shown(value)}")
    if limits["choices"] and value not in limits["choices"]:
        raise UserError(
            f"{name} is {value!r}: {did_you_mean(str(value), limits['choices'])} "
            f"({' or '.join(limits['choices'])})"
        )
    if type(value) is int and value > _LARGEST_WHOLE_NUMBER:
        raise UserError(f"{name} must be at most {_LARGEST_WHOLE_NUMBER}, got {shown(value)}")
    if isinstance(value, int | float):
        low, high, above = limits["low"], limits["high"], limits["above"]
        if (
            not math.isfinite(value)
            or (low is not None and value < low)
            or (above is not None and value <= above)
            or (high is not None and value > high)
        ):
            raise UserError(f"{name} must be {_range(limits)}, got {shown(value)}")
    return value


def help_with_range(limits: Mapping[str, Any]) -> str:
    """The help of a field, with what it may be."""
    text = str(limits["help"])
    if limits["choices"]:
        return f"{text} ({' | '.join(limits['choices'])})"
    return f"{text} ({_range(limits)})" if _range(limits) else text


def _range(limits: Mapping[str, Any]) -> str:
    parts = []
    if limits["above"] is not None:
        parts.append(f"more than {limits['above']:g}")
    if limits["low"] is not None:
        parts.append(f"at least {limits['low']:g}")
    if limits["high"] is not None:
        parts.append(f"at most {limits['high']:g}")
    return ", ".join(parts)


def shown(value: object) -> str:
    """A value as a reader would type it."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
