"""Run one command, and print its seconds and its peak memory as JSON.

``python -m benchmarks.process COMMAND ...`` is a process of its own because a child inherits the peak
memory of the process that starts it: this one is small.
"""

import json
import resource
import subprocess
import sys
import time

# ru_maxrss is in bytes on macOS and in units of 1024 bytes elsewhere.
BYTES = 1 if sys.platform == "darwin" else 1024
# The command without its script, which may lie outside the path.
HISATOOLS = (sys.executable, "-c", "import sys; from hisatools.cli import main; sys.exit(main())")


def run_process(command):
    """Run a command through this module.

    Parameters
    ----------
    command : sequence of str

    Returns
    -------
    dict
        ``seconds`` (wall clock), ``cpu_seconds`` and ``peak_bytes`` (resident memory).

    Raises
    ------
    RuntimeError
        If the command fails; with what it wrote to stderr.
    """
    launcher = [sys.executable, "-m", "benchmarks.process", *map(str, command)]
    done = subprocess.run(launcher, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)


def main(command):
    start = time.perf_counter()
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured = {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * BYTES,
    }
    print(json.dumps(measured))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
