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
    """Safe YAML in which 1e-4 is a number, as everybody expects, not a text; days are texts; and of
    a key that is there twice neither is lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
