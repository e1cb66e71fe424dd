"""Parameters of the scan for absorption: the bank of templates and how noise is trusted."""

from dataclasses import dataclass, field

import astropy.units as u
import numpy as np

from hisatools.errors import ParameterError
from hisatools.parameters import _number, _Parameters, check_quantity

__all__ = ["ScanParameters"]

# Their numbers are kept as uint8.
MAX_TEMPLATES = 256


@dataclass(frozen=True, kw_only=True)
class ScanParameters(_Parameters):
    """What is looked for, and how.

    Parameters
    ----------
    widths : `~astropy.units.Quantity`, angle
        Diameters of the discs, before the beam; a scalar or one axis.
    linewidths : `~astropy.units.Quantity`, velocity
        FWHM of the lines; a scalar or one axis. Each is combined with each width.
    noise_floor : float
        Share of the largest power of the noise, at any scale, below which its power is not believed to
        fall. A beam leaves next to no noise at scales much smaller than itself; a filter that trusts
        this looks for structure there that no real cube holds.
    min_coverage : float
        Share of the template, weighted as the filter weights it, that must lie on pixels that are not
        blank and within the map.
    calibrate : bool
        Whether signal to noise of each template is divided by its own scatter in the cube, where this is
        known well enough: emission that was not taken away counts as noise then.

    Raises
    ------
    ParameterError
        If a width is not finite and above 0, or a number lies outside its range.

    Examples
    --------
    >>> import astropy.units as u
    >>> from hisatools.significance import ScanParameters
    >>> ScanParameters(widths=3 * u.arcmin, linewidths=[2, 4] * u.km / u.s).templates
    [(<Quantity 3. arcmin>, <Quantity 2. km / s>), (<Quantity 3. arcmin>, <Quantity 4. km / s>)]
    """

    widths: u.Quantity = field(default_factory=lambda: (1, 2, 4, 8) * u.arcmin)
    linewidths: u.Quantity = field(default_factory=lambda: (1.5, 3, 6) * u.km / u.s)
    noise_floor: float = _number(0.1, at_most=1)
    min_coverage: float = _number(0.5, at_most=1)
    calibrate: bool = True

    def __post_init__(self):
        super().__post_init__()
        for name, unit in (("widths", u.arcmin), ("linewidths", u.km / u.s)):
            object.__setattr__(self, name, _bank(name, getattr(self, name), unit))
        if len(self.templates) > MAX_TEMPLATES:
            raise ParameterError(
                f"widths and linewidths make {len(self.templates)} templates, and at most {MAX_TEMPLATES} "
                "can be told apart; give fewer"
            )
        if not isinstance(self.calibrate, bool):
            raise ParameterError(f"calibrate must be True or False, got {self.calibrate!r}")

    @property
    def templates(self):
        """Width and linewidth of each template, in the order of ``template`` of `ScanResult`."""
        return [(width, linewidth) for width in self.widths for linewidth in self.linewidths]

    def to_dict(self):
        """Field names and values, Quantities as strings, for the provenance."""
        banks = {name: _text(getattr(self, name)) for name in ("widths", "linewidths")}
        others = {name: getattr(self, name) for name in ("noise_floor", "min_coverage", "calibrate")}
        return banks | others


def _bank(name, values, unit):
    """One axis of widths in ``unit``, each of them checked."""
    if not isinstance(values, u.Quantity) or values.ndim > 1 or values.size == 0:
        example = "[1, 3] * u.arcmin" if unit == u.arcmin else "[1.5, 3] * u.km / u.s"
        raise ParameterError(
            f"{name} needs one or several values with a unit, got {values!r}; for example {example}"
        )
    checked = [check_quantity(name, value, unit).value for value in np.atleast_1d(values)]
    if len(set(checked)) < len(checked):
        raise ParameterError(f"{name} must differ from each other, got {values}")
    return checked * unit


def _text(quantity):
    return [f"{value:g} {quantity.unit}" for value in quantity.value]
