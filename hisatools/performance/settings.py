"""Whether two things were made by the same extraction."""

from hisatools.errors import ParameterError


def check_same_extraction(parts):
    """Refuse models that tell of different things."""
    first, *others = (part.meta.get("extractor", {}).get("parameters", {}) for part in parts)
    for number, parameters in enumerate(others, start=1):
        differing = differences(first, parameters)
        if differing:
            raise ParameterError(
                f"parts[0] and parts[{number}] are of different extractions ({'; '.join(differing)}); "
                "merge models of one"
            )


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
