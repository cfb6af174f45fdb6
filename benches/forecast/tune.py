#!/usr/bin/env python3
"""Every setting of one side on rows held back; figures go to SIDE-holdback.csv as they come, and what is there is not run again.

usage: tune.py rival|ours WORKPLACE [SET ...]
"""
import csv
import json
import sys
import time

from sets import HERE, SETS, flags, run, workplace

COLUMNS = ["set", "name", "arguments", "model", "SQL", "MASE", "cov80", "mean_bias", "cpu_s"]


def settings(side):
    with open(HERE / f"{side}.csv", newline="") as file:
        return [(row["name"], row["model"], row["arguments"]) for row in csv.DictReader(file, delimiter=";")]


def done(path):
    if not path.exists():
        path.write_text(";".join(COLUMNS) + "\n")
    with open(path, newline="") as file:
        return {(row["set"], row["model"], row["arguments"]) for row in csv.DictReader(file, delimiter=";")}


def main(side, place, *names):
    place = workplace(place)
    figures = HERE / f"{side}-holdback.csv"
    for name, models, arguments in settings(side):
        for of in names or SETS:
            wanted = [m for m in models.split(",") if (of, m, arguments) not in done(figures)]
            if not wanted:
                continue
            out = place / f"tune-{side}-{of}.json"
            started = time.time()
            run(side, place, [*flags(side, of, holdback=True), *arguments.split(), "--jobs", "1", "--models", ",".join(wanted), "--out", str(out)])
            report = json.loads(out.read_text())["models"]
            with open(figures, "a") as file:
                for model in wanted:
                    r = report[model]
                    row = [of, name, arguments, model, *(r.get(c) if r.get(c) is not None else "-" for c in COLUMNS[4:])]
                    file.write(";".join(map(str, row)) + "\n")
            print(of, name, f"{time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
