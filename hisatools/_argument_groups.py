"""Arguments that several verbs of the ``hisatools`` command share."""

FOLDER_NOTE = "a folder; files of other names in it are left alone"


def add_common(verb):
    """What every verb has."""
    group = verb.add_argument_group("every verb")
    group.add_argument(
        "--config",
        metavar="FILE.toml",
        help="options of this verb from a TOML file; what is typed here wins",
    )
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="show the log on stderr (-vv: with all details)"
    )
    group.add_argument("--log", metavar="FILE", help="add the log with all details to this file")
    group.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")


def add_input(verb, *, optional=False, several=False):
    if several:
        verb.add_argument("cubes", metavar="CUBE.fits", nargs="+", help="the cubes to read")
    elif optional:
        text = "the cube to put absorption into; without one, model cubes are made"
        verb.add_argument("cube", metavar="CUBE.fits", nargs="?", help=text)
    else:
        verb.add_argument("cube", metavar="CUBE.fits", help="the cube to read")
    verb = verb.add_argument_group("reading the cube")
    verb.add_argument(
        "--preset", default="cgps", metavar="NAME", help="parameters to start from (default cgps)"
    )
    verb.add_argument(
        "--velocity-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="channels to read, km/s"
    )
    verb.add_argument("--region", metavar="FILE.reg", help="sky region to read (DS9 format)")
    verb.add_argument("--weights", metavar="FILE.fits", help="map of mosaic weights")
    verb.add_argument("--beam", metavar="FWHM", help="size of a round beam, arcsec unless a unit is given")
    verb.add_argument("--unit", metavar="UNIT", help="brightness unit, if the header has none or a wrong one")
    verb.add_argument("--rest-frequency", metavar="F", help="of a frequency axis, MHz unless a unit is given")


def add_output(verb, **settings):
    verb = verb.add_argument_group("output")
    verb.add_argument("--output", metavar="FOLDER", help=FOLDER_NOTE, **settings)
    verb.add_argument("--overwrite", action="store_true", help="replace the files of an older run")


def add_run(verb):
    verb = verb.add_argument_group("running")
    verb.add_argument("--workers", type=int, metavar="N", help="threads (default: one a processor)")
    verb.add_argument(
        "--progress", action="store_true", help="show progress bars also where stderr is no terminal"
    )
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def add_search(verb):
    verb = verb.add_argument_group("search")
    verb.add_argument(
        "--unabsorbed",
        default="shell",
        metavar="NAME",
        help="strategy for the unabsorbed emission (default shell; `hisatools strategies` lists them)",
    )
    verb.add_argument("--passes", type=int, default=3, metavar="N", help="search passes (default 3)")
    default = "(default: the fastest of the most exact; `hisatools backends` lists them)"
    verb.add_argument("--clean", metavar="NAME", help=f"CLEAN backend {default}")
    verb.add_argument("--convolution", metavar="NAME", help=f"convolution backend {default}")
    verb.add_argument(
        "--critical-brightness",
        metavar="T",
        help="least T_U of accepted absorption, K unless a unit is given (preset cgps: 70)",
    )
    add_set(
        verb,
        "change any parameter, e.g. --set '{}'; sections: spectral, spatial, shell (or what --unabsorbed "
        "names), extraction",
        "spatial.clean_fwhm=15 arcmin",
    )


def add_set(verb, text, example):
    verb.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help=text.format(example)
    )
    # For the message about a text that is not understood.
    verb.set_defaults(set_example=example)


def add_strategy_inputs(verb):
    verb = verb.add_argument_group("further input of strategies")
    verb.add_argument(
        "--tracer", metavar="FILE.fits", help="cube of a molecular line, for the strategy second-derivative"
    )
    verb.add_argument(
        "--low-resolution",
        metavar="FILE.fits",
        help="single-dish cube of the same field, for the strategy beam",
    )
    verb.add_argument(
        "--off-regions", metavar="FILE.reg", help="where T_OFF is taken from (DS9 format), for spatial-mean"
    )


def add_catalog_columns(verb):
    distance = verb.add_mutually_exclusive_group()
    distance.add_argument(
        "--distance", metavar="D", help="adds distances: of all features, kpc unless a unit is given"
    )
    distance.add_argument(
        "--rotation-curve",
        choices=("reid19", "brand93", "flat"),
        help="adds kinematic distances: the rotation of the Galaxy that tells them",
    )
    verb.add_argument(
        "--side",
        choices=("near", "far"),
        help="which of two kinematic distances (default near, as absorption needs emission behind it)",
    )
    verb.add_argument(
        "--dispersion",
        metavar="DV",
        help="how far velocities stray from the rotation, km/s unless a unit is given (default 7)",
    )
    verb.add_argument(
        "--co",
        metavar="CO.fits",
        help="cube of CO on any grid: adds the line nearest to each feature's velocity",
    )
    verb.add_argument(
        "--crossmatch",
        metavar="FILE",
        help="adds the counterparts of features in another table (ECSV, FITS, VOTable, CSV)",
    )
    verb.add_argument(
        "--max-separation",
        metavar="R",
        help="of a counterpart, arcmin unless a unit is given; with --crossmatch",
    )
    verb.add_argument(
        "--max-velocity-difference",
        metavar="DV",
        help="of a counterpart, km/s unless a unit is given (default: velocities do not matter)",
    )
    verb.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="of the table that are taken along, or all (default: none)",
    )
