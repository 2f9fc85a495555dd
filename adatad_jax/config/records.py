"""Records of configurations: their fields in order, their dotted names, and what files in `configs/` fill."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ml_collections import ConfigDict, FieldReference

from adatad_jax.config.settings import Setting


@dataclass(frozen=True)
class Record:
    """Base of a whole configuration: fields, and sections, which are records of fields."""

    @classmethod
    def of(cls, values: ConfigDict) -> Self:
        """Returns the record of what a configuration file has filled.

        Raises:
          KeyError: a field does not exist.
          TypeError: a field is None.
        """
        flat, known = _flat_dict(values), cls().flat()
        for name, value in flat.items():
            if name not in known:
                raise KeyError(name)
            if value is None:
                raise TypeError(f"{name}=None, expected a value such as {known[name]!r}")
        return cls().with_fields(flat)

    @classmethod
    def known(cls, values: ConfigDict) -> int:
        """Returns how many of the fields that a configuration file has filled the record has."""
        return len(_flat_dict(values).keys() & cls().flat().keys())

    def flat(self) -> dict[str, Any]:
        """Returns dotted field -> value, section by section."""
        return {known.name: known.value for known in fields_of(self)}

    def with_fields(self, values: Mapping[str, Any]) -> Self:
        """Returns a copy with other values of some dotted fields."""
        own: dict[str, Any] = {}
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            own.setdefault(section, {})[key] = value
        sections = {name: dataclasses.replace(getattr(self, name), **new) for name, new in own.items() if name}
        return dataclasses.replace(self, **own.get("", {}), **sections)


class Field(NamedTuple):
    """A field of a configuration with its value.

    Attributes:
      name: dotted.
      value: that of the configuration.
      setting: what is known of the field.
    """

    name: str
    value: Any
    setting: Setting


def fields_of(config: Record) -> Iterator[Field]:
    """Yields every field of a configuration: those outside sections first, then section by section."""
    declared = dataclasses.fields(config)
    for one in declared:
        if "setting" in one.metadata:
            yield Field(one.name, getattr(config, one.name), one.metadata["setting"])
    for section in declared:
        if "setting" not in section.metadata:
            value = getattr(config, section.name)
            for one in dataclasses.fields(value):
                yield Field(f"{section.name}.{one.name}", getattr(value, one.name), one.metadata["setting"])


def defaults_of(kind: type[Record]) -> ConfigDict:
    """Returns the defaults of a configuration as what a file in `configs/` starts from."""
    values = ConfigDict()
    for name, value, known in fields_of(kind()):
        section, _, key = name.rpartition(".")
        if section and section not in values:
            values[section] = ConfigDict()
        # A field of several types takes any value here, and `validate` checks it.
        taken = value if known.or_auto is None else FieldReference(value, field_type=object)
        (values[section] if section else values)[key] = taken
    return values.lock()


def _flat_dict(values: ConfigDict, prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= _flat_dict(value, f"{prefix}{name}.") if isinstance(value, ConfigDict) else {f"{prefix}{name}": value}
    return leaves
