"""Small tables of real data that ship with the package."""

from importlib import resources

from astropy.table import QTable

__all__ = ["load_lab_profiles"]


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
