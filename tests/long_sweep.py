"""A sweep to be killed: python long_sweep.py FOLDER [--jobs N] [--scheduler ADDRESS] [--cluster NAME] [--step-s S] [--stall N].

Not a test. FOLDER/checkpoint is its checkpoint, FOLDER/record.nc its record; FOLDER/log gets a line "piece step" for every step
taken. Once it has N lines every step takes a second.
"""

import argparse
import functools
import signal
import time
from pathlib import Path

import numpy as np
import xarray as xr

from kadam.lab.engine import cluster
from kadam.lab.engine.sweep import sweep
from kadam.lab.records import record as records

PIECES = [f"piece {i}" for i in range(6)]
STEPS = 30


def walk(log, step_s, stall, piece, progress):
    """A random walk that takes its time and writes down every step."""
    rng, path = np.random.default_rng(len(piece) + ord(piece[-1])), np.zeros(STEPS)
    with log.open("a", buffering=1) as file:
        for n in progress.over(STEPS, {"rng": rng, "path": path}):
            path[n] = path[n - 1] + rng.standard_normal()
            file.write(f"{piece[-1]} {n}\n")
            time.sleep(1 if stall and len(log.read_text().splitlines()) >= stall else step_s)
    return xr.Dataset({"path": ("step", path)})


def main(folder, jobs=1, scheduler=None, name=None, step_s=0.0, stall=None):
    folder.mkdir(exist_ok=True)
    work = functools.partial(walk, folder / "log", step_s, stall)
    with cluster.chosen(scheduler=scheduler, cluster=name, jobs=jobs):
        results = sweep(PIECES, work, steps=STEPS, title="long", checkpoint=folder / "checkpoint", jobs=jobs, keep_every_s=0.05)
    record = xr.concat([result.drop_attrs() for result in results.values()], "piece")
    records.save(record, folder / "record.nc")


if __name__ == "__main__":
    # A shell's background job ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--scheduler")
    parser.add_argument("--cluster")
    parser.add_argument("--step-s", type=float, default=0.02)
    parser.add_argument("--stall", type=int)
    given = parser.parse_args()
    main(given.folder, given.jobs, given.scheduler, given.cluster, given.step_s, given.stall)
