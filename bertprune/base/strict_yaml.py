"""Settings as users write them: YAML, read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bertprune.base.errors import UserError

# What PyYAML raises of a text that is no YAML, or has a value that is not what it looks like.
_NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError)


def read(file: Path) -> dict[Any, Any]:
    """What a YAML file maps its keys to.

    Raises UserError for a file that cannot be read, that is no YAML in UTF-8, has a key twice, or
    maps no keys.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except _NO_YAML as error:
        raise UserError(f"{file} is not valid YAML in UTF-8: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must map keys to values, each as in `title: ...`")
    return content


def parse(text: str) -> Any:
    """The value that `text` is in YAML. Raises UserError if it is none."""
    try:
        return yaml.load(text, Loader=_Loader)
    except _NO_YAML as error:
        raise UserError(
            f"cannot read the value {text!r}: quote texts with special signs"
        ) from error


def _reason(error: Exception) -> str:
    """Where the text is no YAML and why, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    """Safe YAML in which what looks like a number, a truth value or nothing to everybody is one,
    and all else a text; and of a key that is there twice neither is lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# Those of YAML 1.2, in decimals alone: 1e-4 is a number. In YAML 1.1, which PyYAML knows, `010` is
# 8, `1:30` is 90, `1_000` is 1000, `no` is false, and a day is no text; here all of them are texts,
# which are refused where a number is wanted.
_WHOLE = "(0|[1-9][0-9]*)"
_PLAIN = {
    "int": rf"[-+]?{_WHOLE}",
    "float": rf"[-+]?({_WHOLE}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
    r"|\.(nan|NaN|NAN)",
    "bool": "true|True|TRUE|false|False|FALSE",
    "null": "~|null|Null|NULL|",
    "merge": "<<",
}
_Loader.yaml_implicit_resolvers = {
    None: [(f"tag:yaml.org,2002:{kind}", re.compile(f"({text})$")) for kind, text in _PLAIN.items()]
}
