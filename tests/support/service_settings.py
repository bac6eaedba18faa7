"""The settings classes of the services, and the variables they read."""

import importlib

from pydantic import AliasChoices

from services.common.settings import CommonSettings


def settings_class(package: str) -> type[CommonSettings]:
    """The settings class of a service's package, such as `services.indexer`."""
    found = importlib.import_module(f"{package}.settings").Settings
    assert issubclass(found, CommonSettings)
    return found


def variables(kind: type[CommonSettings]) -> set[str]:
    """Names of the environment variables a settings class reads."""
    names: set[str] = set()
    for name, field in kind.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [f"EARMARK_{name}"]
        names |= {str(choice).upper() for choice in choices}
    return names
