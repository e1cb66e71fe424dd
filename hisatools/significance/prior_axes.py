"""Whether a prior and another thing are on the same pixels and channels."""

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import proj_plane_pixel_area

from hisatools.catalog import sky_frame
from hisatools.errors import InputError, ParameterError
from hisatools.io.reading import channel_velocity
from hisatools.io.same_axes import SAME_PLACE, SKY_PLACES

__all__ = ["check_same_axes"]


def check_same_axes(prior, wcs, shape, what):
    """Refuse a prior that is not on the axes of another thing.

    Parameters
    ----------
    prior : `~hisatools.significance.prior.SpatialPrior`
        A map, or with channels.
    wcs : `~astropy.wcs.WCS`
        Of the other thing: all three axes if the prior has channels, else those of the sky are enough.
    shape : tuple of int
        (n_v, n_y, n_x) or (n_y, n_x) of the other thing.
    what : str
        Its name, for messages.

    Raises
    ------
    InputError
        If it has another shape, lies elsewhere on the sky, or has other velocities.
    ParameterError
        If it is no prior.

    Examples
    --------
    >>> import numpy as np
    >>> from hisatools.significance import SpatialPrior
    >>> from hisatools.significance.prior_axes import check_same_axes
    >>> from hisatools.simulate import ModelParameters, model_wcs
    >>> wcs = model_wcs(ModelParameters(shape=(8, 30, 40)))
    >>> prior = SpatialPrior(np.ones((30, 40)), wcs)
    >>> check_same_axes(prior, wcs, (8, 30, 40), "the cube")
    >>> check_same_axes(prior, wcs, (8, 30, 50), "the cube")
    Traceback (most recent call last):
        ...
    hisatools.errors.InputError: the prior 'prior' of shape (30, 40) does not fit the ...
    """
    if not hasattr(prior, "probability"):
        raise ParameterError(
            f"prior must be a SpatialPrior, got {type(prior).__name__}; several make one with "
            "SpatialPrior.product(dust, co)"
        )
    own = prior.probability.shape
    if own != tuple(shape)[-len(own) :]:
        raise _other_axes(prior, f"of shape {own} does not fit {what} of shape {tuple(shape)}")
    if wcs.naxis < len(own):
        raise _other_axes(prior, f"has channels, but the WCS of {what} has {wcs.naxis} axes")
    try:
        off_pix = _sky_offset(prior.wcs, wcs, own[-2:])
    except ValueError as exc:
        raise _other_axes(prior, f"or {what} is in a frame that is not understood ({exc})") from None
    if not off_pix < SAME_PLACE:
        raise _other_axes(prior, f"is of another part of the sky than {what}, {off_pix:.3g} pixels off")
    if len(own) == 3:
        ends = [0, own[0] - 1]
        mine, other = (channel_velocity(one, own[0])[ends] for one in (prior.wcs, wcs))
        off_chan = np.max(np.abs((mine - other).to_value("m/s"))) / abs(wcs.wcs.cdelt[2])
        if not off_chan < SAME_PLACE:
            raise _other_axes(
                prior, f"has other velocities than {what}, {off_chan:.3g} channels off at an end"
            )


def _sky_offset(one, other, shape):
    """Largest distance in pixels between corners and centre of two maps."""
    y, x = ((n - 1) * np.array(share) for n, share in zip(shape, SKY_PLACES, strict=True))
    places = [
        SkyCoord(*wcs.celestial.wcs_pix2world(x, y, 0), unit="deg", frame=sky_frame(wcs))
        for wcs in (one, other)
    ]
    on_sky = np.isfinite(places[0].spherical.lon) | np.isfinite(places[1].spherical.lon)
    pixel_deg = np.sqrt(proj_plane_pixel_area(other.celestial))
    return float(np.max(places[0][on_sky].separation(places[1][on_sky]).deg, initial=0.0) / pixel_deg)


def _other_axes(prior, what):
    return InputError(f"the prior {prior.name!r} {what}; make one for this cube")
