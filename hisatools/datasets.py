"""Small data to try things on: real profiles that ship with the package, and a model cube that is made."""

from functools import cache
from importlib import resources

from astropy.table import QTable

__all__ = ["example_model", "example_result", "load_lab_profiles"]


def load_lab_profiles():
    """Three H I profiles of the inner Galactic plane in which self-absorption is seen at once.

    The Leiden/Argentine/Bonn survey (Kalberla et al. 2005, A&A 440, 775; beam 0.6 deg) at b = 0 and
    l = 5, 10 and 20 deg. The dip near +7 km/s at l = 5 and 10 is the Riegel-Crutcher cloud.

    Returns
    -------
    `~astropy.table.QTable`, 301 rows
        ``velocity`` (km/s, LSR, ascending from -150 to +150 in steps of 1) and ``t_l5``, ``t_l10``,
        ``t_l20`` (brightness temperature, K); no NaN. The citation stands in ``meta``.

    Examples
    --------
    >>> from hisatools.datasets import load_lab_profiles
    >>> lab = load_lab_profiles()
    >>> lab["t_l5"][lab["velocity"].value == 7][0]
    <Quantity 44.701 K>
    """
    table = resources.files("hisatools") / "data" / "lab_b0_profiles.ecsv"
    return QTable.read(table.read_text(encoding="utf-8"), format="ascii.ecsv")


@cache
def example_model():
    """A small model cube of the paper's section 3.2, with the absorption that was put into it.

    Returns
    -------
    `~hisatools.simulate.ModelCube`
        32 channels x 208 x 208 pixels, with 84 features; the same object at every call, so do not
        change it.

    Examples
    --------
    >>> from hisatools.datasets import example_model
    >>> example_model().cube.shape
    (32, 208, 208)
    """
    import astropy.units as u

    from hisatools.simulate import ModelParameters, simulate_cube

    parameters = ModelParameters().scaled((32, 208, 208), median_brightness=100 * u.K)
    return simulate_cube(parameters, seed=2)


@cache
def example_result():
    """What one pass finds in `example_model`.

    Returns
    -------
    `~hisatools.HISAResult`
        Made in some seconds at the first call; the same object at every later one, so do not change it.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> result = example_result()
    >>> len(result.catalog), result.n_accepted > 1000
    (5, True)
    """
    from hisatools.extraction import HISAExtractor

    return HISAExtractor(n_passes=1).run(example_model().cube)
