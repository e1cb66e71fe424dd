"""Arguments of the ``hisatools`` command."""

import argparse

from hisatools._version import __version__

FOLDER_NOTE = "a folder; files of other names in it are left alone"


def build_parser(functions):
    """The parser of the command line.

    Parameters
    ----------
    functions : dict
        Name of each verb to the function that does it; parsed arguments hold it as ``verb``.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="hisatools",
        description="Find H I self-absorption in 21 cm cubes, and recover the emission without it.",
    )
    parser.add_argument("--version", action="version", version=f"hisatools {__version__}")
    group = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (text, fill) in VERBS.items():
        verb = group.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        verb.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")
        verb.set_defaults(verb=functions[name])
        fill(verb)
    return parser


def _fill_extract(verb):
    _add_input(verb)
    _add_output(verb, required=True)
    _add_run(verb)
    _add_search(verb)
    _add_strategy_inputs(verb)
    verb.add_argument(
        "--performance",
        metavar="PERF",
        help="what `hisatools performance` wrote for such a cube: adds true_fraction.fits, and reliability "
        "and completeness to the catalogue",
    )
    verb.add_argument(
        "--min-reliability",
        type=float,
        metavar="R",
        help="drop features less likely to be real than this, 0 to 1, as told by the same search on the "
        "mirrored cube, which doubles the time (default: none are dropped)",
    )


def _fill_performance(verb):
    _add_input(verb, optional=True)
    verb.add_argument("--output", metavar="FOLDER", help=FOLDER_NOTE, required=True)
    verb.add_argument(
        "--resume", action="store_true", help="go on with, or add to, the run that is in the folder"
    )
    verb.add_argument(
        "--models", type=int, metavar="N", help="cubes to extract (default 8; 4 where a cube is given)"
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the first of them (default 1)")
    verb.add_argument(
        "--shape",
        type=int,
        nargs=3,
        metavar=("NV", "NY", "NX"),
        help="of model cubes (default 128 512 512, as in the paper)",
    )
    verb.add_argument(
        "--n-pucks",
        type=int,
        metavar="N",
        help="absorption features put into the cube (default: as dense as in the paper's models)",
    )
    verb.add_argument(
        "--noise",
        choices=("drawn", "own"),
        help="in the cube, below the scale of the box mean: drawn anew each time (default), or its own",
    )
    _add_run(verb)
    _add_search(verb)
    verb.set_defaults(
        interrupted="interrupted; the models that were finished are kept, the same command with --resume "
        "goes on from them"
    )


def _fill_demo(verb):
    _add_output(verb, default="hisa_demo")
    _add_run(verb)
    # Seed 1 holds no absorption that is deep, wide, narrow and against bright emission; seed 2 does.
    verb.add_argument("--seed", type=int, default=2, metavar="N", help="of the model's random numbers")


def _fill_simulate(verb):
    _add_output(verb, required=True)
    verb.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=(128, 256, 256),
        metavar=("NV", "NY", "NX"),
        help="default 128 256 256",
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the random numbers (default 1)")


def _fill_inspect(verb):
    _add_input(verb)


def _fill_compare(verb):
    _add_input(verb)
    verb.add_argument(
        "--mask",
        required=True,
        metavar="MASK",
        help="what may be absorbed: a folder that `hisatools extract` wrote (compared is what was accepted, "
        "and T_OFF was flagged by neither search), or a FITS cube that is not 0 there",
    )
    _add_output(verb, required=True)
    verb.add_argument(
        "--strategies",
        nargs="+",
        metavar="NAME",
        help="what to compare (default: all that need nothing but the cube, or what is given here)",
    )
    _add_set(verb, "change a parameter of a strategy, e.g. --set '{}'", "spatial-mean.width=4 arcmin")
    _add_strategy_inputs(verb)
    verb.add_argument(
        "--noise",
        dest="noise_file",
        metavar="FILE.fits",
        help="what `hisatools noise` wrote for the cube (default: measured)",
    )
    verb.add_argument(
        "--rim",
        type=int,
        default=2,
        metavar="N",
        help="voxels about a feature that are predicted (default 2)",
    )
    verb.add_argument(
        "--features",
        type=int,
        default=8,
        metavar="N",
        help="how many are drawn, the largest first (default 8)",
    )
    _add_run(verb)


def _fill_noise(verb):
    _add_input(verb, several=True)
    verb.add_argument(
        "--strategy",
        default="mad-difference",
        metavar="NAME",
        help="how to measure it (default mad-difference; `hisatools strategies` lists them)",
    )
    _add_set(
        verb,
        "change a parameter of the strategy, e.g. --set '{}'; velocity ranges as in "
        "--set 'line-free.ranges=-150 -120 km/s, 60 80 km/s'",
        "mesh.box_size=20 arcmin",
    )
    verb.add_argument(
        "--mask", choices=("automatic",), help="leave out what stands out of the noise, found round by round"
    )
    verb.add_argument(
        "--output",
        required=True,
        metavar="OUT",
        help="a FITS file; of several cubes a folder, which gets NAME_noise.fits for each NAME.fits",
    )
    verb.add_argument("--overwrite", action="store_true", help="replace older files of these names")
    _add_run(verb)
    verb.set_defaults(
        interrupted="interrupted; the files that were finished are kept, no other was written; leave out "
        "their cubes, or measure all again with --overwrite"
    )


def _fill_significance(verb):
    _add_input(verb)
    verb.add_argument(
        "--result",
        metavar="FOLDER",
        help="what `hisatools extract` wrote for this cube: its T_U is used, and its features are assessed "
        "(default: smooth emission stands for T_U)",
    )
    verb.add_argument(
        "--prior",
        nargs="+",
        metavar="FILE",
        help="where cold gas is expected: a HEALPix map, a FITS map or cube, a catalogue (.ecsv) or regions "
        "(.reg); several are multiplied",
    )
    verb.add_argument("--floor", type=float, metavar="X", help="least prior, as a share of its largest value")
    verb.add_argument(
        "--smooth", metavar="FWHM", help="smooth the priors on the sky, arcmin unless a unit is given"
    )
    verb.add_argument("--frame", metavar="NAME", help="of a HEALPix map that does not say: galactic or icrs")
    verb.add_argument(
        "--widths",
        nargs="+",
        metavar="W",
        help="of templates, arcmin unless a unit is given (default 1 2 4 8)",
    )
    verb.add_argument(
        "--linewidths",
        nargs="+",
        metavar="DV",
        help="FWHM of templates, km/s unless a unit is given (default 1.5 3 6)",
    )
    verb.add_argument(
        "--within", metavar="FILE", help="what is scanned: regions (.reg), or a FITS mask that is not 0 there"
    )
    verb.add_argument(
        "--noise",
        dest="noise_file",
        metavar="FILE.fits",
        help="what `hisatools noise` wrote for the cube (default: measured)",
    )
    verb.add_argument(
        "--trials",
        type=int,
        default=200,
        metavar="N",
        help="cubes without absorption that are scanned for p_global (default 200; 0 for none)",
    )
    verb.add_argument(
        "--background",
        default="noise",
        choices=("noise", "sign-flip", "shuffle"),
        help="what they are made of (default noise)",
    )
    verb.add_argument("--seed", type=int, default=1, metavar="N", help="of the first of them (default 1)")
    verb.add_argument("--resume", action="store_true", help="go on with the trials that are in the folder")
    verb.add_argument(
        "--peaks",
        type=float,
        default=25,
        metavar="TS",
        help="least TS of the peaks that are listed (default 25)",
    )
    verb.add_argument(
        "--reliability",
        action="store_true",
        help="search the mirrored cube, too, and say of each feature how likely it is real",
    )
    _add_output(verb, required=True)
    _add_run(verb)
    verb.set_defaults(
        interrupted="interrupted; the trials that were finished are kept, the same command with --resume "
        "goes on from them"
    )


def _fill_residual_mask(verb):
    verb.add_argument("--tracer", required=True, metavar="DUST.fits", help="map of dust or extinction")
    verb.add_argument("--gas", metavar="GAS.fits", help="map of N(HI), or of other gas")
    verb.add_argument("--cube", metavar="CUBE.fits", help="H I cube that N(HI) is made from")
    verb.add_argument(
        "--result", metavar="FOLDER", help="what `hisatools extract` wrote: N(HI) is made from its T_U"
    )
    verb.add_argument(
        "--velocity-range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="that N(HI) is made over, km/s"
    )
    verb.add_argument("--error", metavar="ERROR.fits", help="map of the standard deviation of the tracer")
    verb.add_argument("--tracer-unit", metavar="UNIT", help="if the header has none or a wrong one")
    verb.add_argument("--gas-unit", metavar="UNIT", help="if the header has none or a wrong one")
    verb.add_argument(
        "--intercept", type=float, metavar="X", help="given in the unit of the tracer, and not fitted"
    )
    verb.add_argument(
        "--likelihood",
        type=float,
        nargs=3,
        metavar=("LOW", "HIGH", "STEP"),
        help="find the velocity width about the middle of the range among these, km/s",
    )
    verb.add_argument("--n-sigma", type=float, metavar="N", help="threshold of the mask (default 3)")
    verb.add_argument(
        "--start-fraction", type=float, metavar="X", help="share of the pixels to start with (default 0.1)"
    )
    verb.add_argument("--growth", type=float, metavar="X", help="share that each round adds (default 0.01)")
    verb.add_argument(
        "--n-stable", type=int, metavar="N", help="rounds in a row without change that end it (default 3)"
    )
    verb.add_argument("--max-rounds", type=int, metavar="N", help="end at the latest here (default 500)")
    verb.add_argument(
        "--pixels-per-beam", type=float, metavar="N", help="pixels that share their noise (default 1)"
    )
    _add_output(verb, required=True)
    verb.add_argument("--workers", type=int, metavar="N", help="threads (default: one a processor)")
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_input(verb, *, optional=False, several=False):
    if several:
        verb.add_argument("cubes", metavar="CUBE.fits", nargs="+", help="the cubes to read")
    elif optional:
        text = "the cube to put absorption into; without one, model cubes are made"
        verb.add_argument("cube", metavar="CUBE.fits", nargs="?", help=text)
    else:
        verb.add_argument("cube", metavar="CUBE.fits", help="the cube to read")
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


def _add_output(verb, **settings):
    verb.add_argument("--output", metavar="FOLDER", help=FOLDER_NOTE, **settings)
    verb.add_argument("--overwrite", action="store_true", help="replace the files of an older run")


def _add_run(verb):
    verb.add_argument("--workers", type=int, metavar="N", help="threads (default: one a processor)")
    verb.add_argument(
        "--progress", action="store_true", help="show progress bars also where stderr is no terminal"
    )
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_search(verb):
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
    _add_set(
        verb,
        "change any parameter, e.g. --set '{}'; sections: spectral, spatial, shell (or what --unabsorbed "
        "names), extraction",
        "spatial.clean_fwhm=15 arcmin",
    )


def _add_set(verb, text, example):
    verb.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", help=text.format(example)
    )
    # For the message about a text that is not understood.
    verb.set_defaults(set_example=example)


def _add_strategy_inputs(verb):
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


VERBS = {
    "extract": ("find the absorption in a cube and write it, with a catalogue", _fill_extract),
    "performance": (
        "measure with known absorption what is found, what is real and what drifts",
        _fill_performance,
    ),
    "demo": ("extract the absorption of a small model cube and compare with the truth", _fill_demo),
    "simulate": ("write a model cube with known absorption", _fill_simulate),
    "compare": (
        "estimate the unabsorbed emission in several ways, and compare them in tables and figures",
        _fill_compare,
    ),
    "noise": ("measure the noise of cubes and write it as FITS", _fill_noise),
    "significance": (
        "say of features and of all places whether noise could do this: matched filters, priors, trials",
        _fill_significance,
    ),
    "residual-mask": (
        "fit dust and gas, and mask the dust in excess of it; find the velocity range that the dust follows",
        _fill_residual_mask,
    ),
    "inspect": ("show how a cube is read, and whether the preset fits it", _fill_inspect),
    "strategies": (
        "list the ways to estimate the unabsorbed emission and to measure noise, with their citations",
        lambda verb: None,
    ),
    "backends": (
        "list the installed backends, with their tolerance and their speed on this machine",
        lambda verb: None,
    ),
}
