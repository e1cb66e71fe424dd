"""Whether two things were made by the same extraction."""

from hisatools.errors import ParameterError


def check_same_extraction(parts):
    """Refuse models that tell of different things."""
    first, *others = (_what_matters(part.meta) for part in parts)
    for number, parameters in enumerate(others, start=1):
        differing = differences(first, parameters)
        if differing:
            raise ParameterError(
                f"parts[0] and parts[{number}] differ in {'; '.join(differing)}; "
                "merge models of one kind and one extraction"
            )


def _what_matters(meta):
    """Kind of the cubes, models or pucks in them, and parameters of the extraction."""
    parameters = meta.get("extractor", {}).get("parameters", {})
    return {name: meta.get(name) for name in ("kind", "model")} | parameters


def differences(own, other, place=""):
    """Parameters that differ between two nested dicts, as words."""
    found = []
    for name in sorted(own.keys() | other.keys()):
        here, there = own.get(name), other.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            found += differences(here, there, f"{place}{name}.")
        elif here != there:
            found.append(f"{place}{name} {here} instead of {there}")
    return found
