"""HISACatalog: an astropy table of features that knows where they are, how far, and what lies near."""

import os

import astropy.units as u
from astropy.io.registry import UnifiedReadWriteMethod
from astropy.table import QTable
from astropy.table.connect import TableRead

__all__ = ["HISACatalog"]


class _Reading(TableRead):
    """As of every table; a VOTable has what ``meta`` held in its parameters."""

    def __call__(self, *args, **kwargs):
        from hisatools.votable import meta_of_votable

        found = super().__call__(*args, **kwargs)
        source = args[0] if args else None
        if isinstance(source, str | os.PathLike) and not isinstance(found.meta.get("FRAME"), str):
            found.meta = meta_of_votable(source) | found.meta
        return found


class HISACatalog(QTable):
    """The catalogue of a result: one row a feature, every column with its unit and description.

    It is a `~astropy.table.QTable`, and whatever takes one takes it. Slices, copies, stacks and what
    `~hisatools.HISAResult` reads from a file are catalogues, too; ``HISACatalog.read(path)`` reads one from
    ECSV or a VOTable, and ``HISACatalog(table)`` makes one of a table. ``meta`` holds the frame of
    the sky (``FRAME``, for FK4 and FK5 with ``EQUINOX``), that of the velocities (``SPECSYS``) and the beam
    (``BEAM``).

    What a method adds to the columns is in a new catalogue; the old one stays as it is.

    Examples
    --------
    >>> from hisatools.datasets import example_result
    >>> catalog = example_result().catalog
    >>> deep = catalog[catalog["n_voxels"] > 300]
    >>> type(deep).__name__, len(deep)
    ('HISACatalog', 2)
    """

    read = UnifiedReadWriteMethod(_Reading)

    @property
    def coordinates(self):
        """Centroids of the features: `~astropy.coordinates.SkyCoord`, shape (n,), in the frame of the cube.

        An `~hisatools.errors.InputError` where ``meta`` does not name the frame.
        """
        from hisatools.catalog.places import positions_of

        return positions_of(self, position=("lon", "lat"), name="the catalogue")

    def features_at(self, position, radius, *, velocity=None, max_velocity_difference=None):
        """The features about a place, the nearest first.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord`, scalar
            In any frame.
        radius : `~astropy.units.Quantity`, angle
            How far from it a centroid may lie.
        velocity, max_velocity_difference : `~astropy.units.Quantity`, velocity, optional
            Keep only features whose velocity differs by no more from this one; both or neither.

        Returns
        -------
        HISACatalog
            Some of the rows, or none.

        Raises
        ------
        ParameterError
            If an argument is missing, or is not of the kind that is needed.
        InputError
            If ``meta`` does not name the frame of the sky.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.datasets import example_result
        >>> catalog = example_result().catalog
        >>> place = catalog.coordinates[2].icrs
        >>> len(catalog.features_at(place, 1 * u.arcmin))
        1
        """
        from hisatools.catalog.crossmatch import features_at

        return features_at(self, position, radius, velocity, max_velocity_difference)

    def crossmatch(
        self,
        table,
        *,
        max_separation,
        max_velocity_difference=None,
        columns=(),
        one_to_one=False,
        prefix="match",
        position=None,
        velocity=None,
        frame=None,
    ):
        """Find the counterpart of each feature in another table, for example a catalogue of CO clouds.

        It is the nearest on the sky of those that lie within the limits.

        Parameters
        ----------
        table : `~astropy.table.Table`, or path of a file of one
            With a SkyCoord column, or columns of longitude and latitude under names that are in use (``lon``,
            ``GLON``, ``l``, ``RA``, ``RAJ2000`` ...), and maybe of velocities (``velocity``, ``VLSR`` ...).
            Its frame of the sky may be another than that of the catalogue. Rows whose position is masked or
            NaN match nothing.
        max_separation : `~astropy.units.Quantity`, angle, scalar or shape (n,)
            Largest distance on the sky between centroids; one for all, or one for each feature, as
            ``catalog["angular_width_max"] / 2``. Where it is NaN nothing matches.
        max_velocity_difference : `~astropy.units.Quantity`, velocity, scalar or shape (n,), optional
            Rows whose velocity is not known, or differs by more, are no counterparts. Without it
            velocities do not matter.
        columns : sequence of str, or "all"
            Columns of the table to take along.
        one_to_one : bool
            Whether a row may be the counterpart of one feature only: pairs are then made in the order of
            nearness.
        prefix : str
            Of the new columns.
        position, velocity, frame : optional
            Which columns of the table hold the position (a name, or a pair of names) and the velocity, and
            the frame of the position, where the names do not tell.

        Returns
        -------
        HISACatalog
            With ``match_row`` (-1 where there is no counterpart), ``match_separation``,
            ``match_velocity_difference`` (counterpart minus feature), ``match_n_candidates`` (rows within the
            limits) and ``match_`` with the name of each of ``columns``: NaN or masked where there is no
            counterpart.

        Raises
        ------
        InputError
            If positions, velocities or columns are not found in the table.
        ParameterError
            If a limit is not of the kind that is needed, or a column would be there twice.

        Warns
        -----
        HISAWarning
            If a column of positions or velocities has no unit, and degrees or km/s are assumed; if the
            velocities are in another frame.

        Examples
        --------
        >>> import astropy.units as u
        >>> from astropy.table import QTable
        >>> from hisatools.datasets import example_result
        >>> catalog = example_result().catalog
        >>> place = catalog.coordinates[[1]].icrs
        >>> clouds = QTable({"RA": place.ra, "DEC": place.dec, "VLSR": catalog["velocity"][[1]]})
        >>> clouds["name"] = ["A"]
        >>> limits = {"max_separation": 2 * u.arcmin, "max_velocity_difference": 3 * u.km / u.s}
        >>> catalog.crossmatch(clouds, columns=["name"], **limits)["match_name"].tolist()
        [None, 'A', None, None, None]
        """
        from hisatools.catalog.crossmatch import crossmatch

        return crossmatch(
            self,
            table,
            max_separation=max_separation,
            max_velocity_difference=max_velocity_difference,
            columns=columns,
            one_to_one=one_to_one,
            prefix=prefix,
            position=position,
            velocity=velocity,
            frame=frame,
        )

    def with_distances(
        self, distance=None, *, distance_error=None, curve="reid19", side="near", dispersion=7 * u.km / u.s
    ):
        """Add distances from the Sun: given ones, or those that the velocities tell.

        Absorption needs bright emission behind it. Within the solar circle, where two distances have the same
        velocity, much of the emission of that velocity lies at the far one; so the near one is the likelier
        for what is seen in absorption, and the default.

        Parameters
        ----------
        distance : `~astropy.units.Quantity`, length, scalar or shape (n,), or str, optional
            Of all features, or of each, or the name of a column that holds it. Without it the distance is the
            kinematic one, see `hisatools.distances.kinematic_distance`.
        distance_error : as ``distance``, optional
            1-sigma uncertainty of what is given.
        curve : {"reid19", "brand93", "flat"} or `~hisatools.distances.RotationCurve`
        side : {"near", "far"}
        dispersion : `~astropy.units.Quantity`, velocity
            How far velocities stray from circular rotation; 1 sigma.

        Returns
        -------
        HISACatalog
            With ``distance`` and ``distance_error`` (kpc; NaN where not known), ``distance_flags`` (see
            `hisatools.distances.DistanceFlag`) and ``distance_method``; ``meta["DISTANCE"]`` names the curve.

        Raises
        ------
        InputError
            If ``meta`` does not name the frame of the sky, velocities are not in the LSR, or there is no
            such column.
        ParameterError
            If an argument is not of the kind that is needed.

        Warns
        -----
        HISAWarning
            If ``meta`` does not name the frame of the velocities.

        Examples
        --------
        >>> import astropy.units as u
        >>> from hisatools.datasets import example_result
        >>> catalog = example_result().catalog.with_distances()
        >>> print(catalog["distance"][:3].round(1), catalog["distance_method"][0])
        [2.6 3.6 3.5] kpc outer
        >>> print(example_result().catalog.with_distances(2 * u.kpc)["distance"][0])
        2.0 kpc
        """
        from hisatools.distances.columns import with_distances

        return with_distances(
            self, distance, distance_error=distance_error, curve=curve, side=side, dispersion=dispersion
        )

    def with_co(
        self,
        cube,
        *,
        min_significance=5.0,
        min_brightness=None,
        max_velocity_difference=None,
        rest_frequency=None,
        prefix="co",
    ):
        """Add the CO nearest in velocity on the sight line of each centroid.

        With a `~hisatools.HISAResult` at hand use `hisatools.tracers.add_co`: it takes the mean over all
        sight lines of a feature, where this takes the one spectrum of the CO pixel that the centroid lies in.

        Parameters
        ----------
        cube, min_significance, min_brightness, max_velocity_difference, rest_frequency, prefix
            As in `hisatools.tracers.add_co`.

        Returns
        -------
        HISACatalog
            With the same columns; ``co_coverage`` is 0 or 1.

        Raises
        ------
        InputError
            If the cube cannot be read, its velocities count from elsewhere, or ``meta`` does not name the
            frame of the sky.
        ParameterError
            If an argument is not of the kind that is needed.

        Examples
        --------
        A cube of CO with lines of 2 K at -38 km/s. The second feature is at -39.6 km/s:

        >>> import astropy.units as u
        >>> import numpy as np
        >>> from hisatools import HISACube
        >>> from hisatools.datasets import example_result
        >>> result = example_result()
        >>> line = 2 * np.exp(-0.5 * ((result.velocity.value + 38) / 1.5) ** 2)
        >>> noise = np.random.default_rng(1).normal(0, 0.1, result.flags.shape)
        >>> co = HISACube((line[:, None, None] + noise) * u.K, result.wcs)
        >>> found = result.catalog.with_co(co, max_velocity_difference=5 * u.km / u.s)
        >>> print(found["co_velocity"].round(0))
        [ nan -38. -38. -38.  nan] km / s
        >>> print(found["co_velocity_difference"][1].round(1))
        1.6 km / s
        """
        from hisatools.tracers.columns import catalog_with_co

        return catalog_with_co(
            self,
            cube,
            min_significance=min_significance,
            min_brightness=min_brightness,
            max_velocity_difference=max_velocity_difference,
            rest_frequency=rest_frequency,
            prefix=prefix,
        )
