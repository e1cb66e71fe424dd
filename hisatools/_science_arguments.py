"""Arguments of the verbs that measure what a cube or a result holds: noise, significance, dust and gas."""

from hisatools._argument_groups import add_input, add_output, add_run, add_set


def fill_noise(verb):
    add_input(verb, several=True)
    verb.add_argument(
        "--strategy",
        default="mad-difference",
        metavar="NAME",
        help="how to measure it (default mad-difference; `hisatools strategies` lists them)",
    )
    add_set(
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
    add_run(verb)
    verb.set_defaults(
        interrupted="interrupted; the files that were finished are kept, no other was written; leave out "
        "their cubes, or measure all again with --overwrite"
    )


def fill_significance(verb):
    add_input(verb)
    verb.add_argument(
        "--result",
        metavar="FOLDER",
        help="what `hisatools extract` wrote for this cube: its T_U is used, and its features are assessed "
        "(default: smooth emission stands for T_U)",
    )
    _add_prior(verb)
    _add_scan(verb)
    _add_trials(verb)
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
    add_output(verb, required=True)
    add_run(verb)
    verb.set_defaults(
        interrupted="interrupted; the trials that were finished are kept, the same command with --resume "
        "goes on from them"
    )


def _add_prior(verb):
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


def _add_scan(verb):
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


def _add_trials(verb):
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


def fill_gas(verb):
    verb.add_argument("result", metavar="FOLDER", help="what `hisatools extract` wrote")
    closure = verb.add_mutually_exclusive_group(required=True)
    closure.add_argument(
        "--t-spin", metavar="T", help="spin temperature of the gas, K unless a unit is given"
    )
    closure.add_argument(
        "--tau", metavar="X", help="optical depth where the spectra that tell T_S are deepest"
    )
    closure.add_argument(
        "--p-over-k", metavar="P", help="pressure over k, K / cm3 unless a unit is given; for example 4000"
    )
    _add_gas_behind(verb)
    _add_gas_cloud(verb)
    _add_gas_errors(verb)
    verb.add_argument(
        "--cubes", action="store_true", help="write tau and densities of all voxels as cubes too"
    )
    add_output(verb, required=True)
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_gas_behind(verb):
    verb.add_argument(
        "--p", type=float, metavar="X", help="share of the emission that lies behind the gas (default 1)"
    )
    verb.add_argument(
        "--continuum",
        default="0",
        metavar="T|FILE.fits",
        help="continuum behind the gas, with the cosmic background: K, or a FITS map (default 0)",
    )
    verb.add_argument("--max-continuum", metavar="T", help="leave out sight lines with more, K (default 20)")


def _add_gas_cloud(verb):
    verb.add_argument(
        "--distance",
        metavar="D",
        help="for masses and lengths, kpc unless a unit is given (default: the catalogue's column distance)",
    )
    verb.add_argument(
        "--path-length",
        metavar="L",
        help="through the gas, pc (default: each feature's width without the beam)",
    )
    verb.add_argument(
        "--fraction", type=float, metavar="X", help="share of the particles that are cold atoms (default 1)"
    )
    verb.add_argument(
        "--spin-per",
        choices=("feature", "sight_line"),
        help="what has one T_S: a feature, from its mean spectrum, or each sight line (default feature)",
    )
    verb.add_argument(
        "--line",
        choices=("profile", "gaussian"),
        help="line that the pressure is of: as it is seen, or a Gaussian as wide as it (default profile)",
    )


def _add_gas_errors(verb):
    """1-sigma uncertainties of what is given."""
    group = verb.add_argument_group(
        "uncertainties", "1 sigma, in the units of what they are of; what is not stated is taken as exact"
    )
    for name in ("t-spin", "tau", "p-over-k", "path-length", "distance"):
        group.add_argument(f"--{name}-error", metavar="S", help=f"of --{name}")
    for name in ("p", "fraction"):
        group.add_argument(f"--{name}-error", type=float, metavar="S", help=f"of --{name}")
    group.add_argument("--continuum-error", dest="t_continuum_error", metavar="S", help="of --continuum, K")


def fill_residual_mask(verb):
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
    add_output(verb, required=True)
    verb.add_argument("--workers", type=int, metavar="N", help="threads (default: one a processor)")
    verb.add_argument("--quiet", action="store_true", help="print warnings and errors only")
