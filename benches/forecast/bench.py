#!/usr/bin/env python3
"""Both sides on the evaluation windows, in one run, with the settings that were best on rows held back; one table in Markdown to stdout.

usage: bench.py WORKPLACE [SET ...]
"""
import csv
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from sets import HERE, SETS, digest, flags, run, workplace

LOCAL = "SeasonalNaive,AutoETS,DOT,Ensemble,GroupMedian"
LEARNED = "LGB-l1,LGB-l1+known,LGB-tweedie,LGB-tweedie+known,LGB-quantile,LGB-quantile+known"
OURS = "SeasonalNaive,ETS,DOT,CrostonSBA,TSB,GroupMedian,Boost+known,TiDE-Q+known,intellicartel"
# What run_all.sh of the rivals gives to their point models, and to the quantile model beside what is tuned.
POINT = {
    "rossmann": "--lgb 600,0.06,63",
    "daily": "--lgb 300,0.05,31",
    "weekly": "--lgb 300,0.05,15 --lgb-min-leaf 20",
}
QUANTILES = [f"q{q / 10}" for q in range(1, 10)]
RESAMPLES = 2_000
# Rows from one origin to the next where coverage is taken.
STEPS = {"rossmann": 14, "daily": 11, "weekly": 1}
SETTINGS = [HERE / name for name in ("rival.csv", "rival-holdback.csv", "ours.csv", "ours-holdback.csv")]


def rows_of(path):
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def untried(sets):
    """Settings without figures on rows held back: before all have some, no evaluation window is looked at."""
    missing = []
    for side in ("rival", "ours"):
        known = {(row["set"], row["model"], row["arguments"]) for row in rows_of(HERE / f"{side}-holdback.csv")}
        missing += [f"{side}, {of}: {row['name']}" for row in rows_of(HERE / f"{side}.csv") for of in sets
                    if (of, row["model"], row["arguments"]) not in known]
    return missing


def best(side, of, model):
    """Arguments of the setting that was best on the set's rows held back."""
    rows = [row for row in rows_of(HERE / f"{side}-holdback.csv") if row["set"] == of and row["model"] == model]
    return min(rows, key=lambda row: float(row["SQL"]))["arguments"].split()


def losses(path, model):
    """Of each row of a model's forecasts, the scaled quantile loss and the scaled error, as shares of what the measures are means of."""
    df = pd.read_parquet(path)
    df = df[(df["model"] == model) & (df["_scale"] > 0)]
    y, scale = df["y"].to_numpy(), df["_scale"].to_numpy()
    group = [df["unique_id"], df["_w"]]
    share = 1 / df.groupby(group)["y"].transform("size").to_numpy() / df.groupby(group).ngroups
    out = pd.DataFrame({"series": df["unique_id"].to_numpy(), "week": pd.to_datetime(df["ds"]).dt.strftime("%G-%V").to_numpy()})
    out["ds"] = pd.to_datetime(df["ds"]).to_numpy()
    out["MASE"] = np.abs(df["q0.5"].to_numpy() - y) / scale * share
    pinball = 0
    for q in QUANTILES:
        below = y - df[q].to_numpy()
        pinball = pinball + 2 * np.maximum(float(q[1:]) * below, (float(q[1:]) - 1) * below)
    out["SQL"] = pinball / len(QUANTILES) / scale * share
    return out.sort_values(["series", "ds"], ignore_index=True)


def compared(ours, rival, measure, by):
    """Our loss relative to the rival's, and the bounds of 95 % of it when series or calendar weeks are drawn anew."""
    assert (ours["series"] == rival["series"]).all() and (ours["ds"] == rival["ds"]).all()
    sums = pd.DataFrame({"by": ours[by], "ours": ours[measure], "rival": rival[measure]}).groupby("by").sum()
    a, b = sums["ours"].to_numpy(), sums["rival"].to_numpy()
    drawn = np.random.default_rng(7).multinomial(len(a), np.full(len(a), 1 / len(a)), RESAMPLES)
    low, high = np.quantile(drawn @ a / (drawn @ b) - 1, [0.025, 0.975])
    return a.sum() / b.sum() - 1, low, high


def verdict(bounds):
    if all(high < 0 for _, low, high in bounds):
        return "better"
    return "worse" if all(low > 0 for _, low, high in bounds) else "tie"


def figure(value, digits=4):
    return "-" if value is None else f"{value:.{digits}f}"


def row(side, name, r):
    active = r.get("active") or {}
    seconds = [r["cpu_s"], r.get("selection_cpu_s")]
    return "| " + " | ".join([
        side, name, figure(r["MASE"]), figure(r["WAPE"]), figure(r["bias"], 3), figure(r.get("mean_bias"), 3), figure(r.get("SQL")),
        figure(r.get("cov80"), 3), figure(r.get("cov95"), 3), figure(active.get("SQL")), figure(active.get("cov80"), 3),
        figure(seconds[0], 1), figure(seconds[1], 1) if seconds[1] else "-"]) + " |"


def measure(of, place):
    """Runs both sides on a set and prints what came of it."""
    rival_args = best("rival", of, "LGB-quantile+known")
    forest = best("ours", of, "Boost+known")
    net = best("ours", of, "TiDE-Q+known")
    print(f"\n## {of}\n\n`{' '.join(flags('rival', of))}`\n\nLightGBM's quantile models: `{' '.join(rival_args) or 'defaults'}`, its point models: "
          f"`{POINT[of]}`; ours: `{' '.join([*forest, *net]) or 'defaults'}`.\n", flush=True)
    made = {"rival": {}, "ours": {}}
    for side, models, arguments in [
        ("rival", LOCAL, []),
        ("rival", LEARNED.replace(",LGB-quantile,LGB-quantile+known", ""), POINT[of].split()),
        ("rival", "LGB-quantile,LGB-quantile+known", rival_args),
        ("ours", OURS, [*forest, *net]),
    ]:
        out = place / f"bench-{of}-{len(made['rival'])}-{side}.json"
        pred = out.with_suffix(".parquet")
        run(side, place, [*flags(side, of), *arguments, "--models", models, "--out", str(out), "--save-pred", str(pred)])
        made[side].update({name: (r, pred) for name, r in json.loads(out.read_text())["models"].items()})
    print("| side | model | MASE | WAPE | bias | mean_bias | SQL | cov80 | cov95 | open SQL | open cov80 | CPU s | selection CPU s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for side, models in made.items():
        for name, (r, _) in sorted(models.items(), key=lambda item: item[1][0].get("SQL") or 9 + item[1][0]["MASE"]):
            print(row(side, name, r))
    with_sql = [(r["SQL"], name) for name, (r, _) in made["rival"].items() if r.get("SQL")]
    rival = min(with_sql)[1]
    ours, theirs = losses(made["ours"]["intellicartel"][1], "intellicartel"), losses(made["rival"][rival][1], rival)
    print(f"\nintellicartel against {rival}, the rival of the best SQL (95 % of {RESAMPLES} paired resamples):\n")
    print("| measure | difference | by calendar week | by series | verdict |\n|---|---:|---|---|---|")
    for name in ("SQL", "MASE"):
        bounds = [compared(ours, theirs, name, by) for by in ("week", "series")]
        spans = [f"{low:+.1%} to {high:+.1%}" for _, low, high in bounds]
        print(f"| {name} | {bounds[0][0]:+.1%} | {spans[0]} | {spans[1]} | {verdict(bounds)} |", flush=True)


def coverage(of, place):
    """How often what came lay within what the blend said, over six origins inside the rows of the evaluation; of counts, each quantile, rounded and not."""
    forest = best("ours", of, "Boost+known")
    net = best("ours", of, "TiDE-Q+known")
    pred = place / f"coverage-{of}.parquet"
    given = flags("ours", of)
    given[given.index("--windows") + 1] = "6"
    run("ours", place, [*given, "--step", str(STEPS[of]), *forest, *net, "--models", "intellicartel", "--out", str(pred.with_suffix(".json")), "--save-pred", str(pred)])
    df = pd.read_parquet(pred)
    df = df[df["_active"] == 1]
    y = df["y"].to_numpy()
    within = [float(((y >= df[low]) & (y <= df[high])).mean()) for low, high in (("q0.1", "q0.9"), ("q0.025", "q0.975"))]
    print(f"\n### {of}: coverage over six origins, {STEPS[of]} rows apart{', open days' if '--mask' in given else ''}\n\n80 %: {within[0]:.1%}, 95 %: {within[1]:.1%}\n")
    print("| quantile | P(y < q) | P(y <= q) | rounded: P(y < q) | P(y <= q) | count rule |\n|---|---:|---:|---:|---:|---|")
    for q in (0.025, *(q / 10 for q in range(1, 10)), 0.975):
        plain = df[f"q{q}"].to_numpy()
        shares = [float(share) for of_q in (plain, np.round(plain)) for share in ((y < of_q).mean(), (y <= of_q).mean())]
        held = all(shares[at] <= q + 0.02 and shares[at + 1] >= q - 0.02 for at in (0, 2))
        print(f"| {q} | " + " | ".join(f"{share:.3f}" for share in shares) + f" | {'held' if held else 'missed'} |", flush=True)


def main(place, *names):
    missing = untried(names or SETS)
    if missing:
        sys.exit(f"{len(missing)} settings have no figures on rows held back, the first {missing[0]}: run `make tune-forecast` before")
    place = workplace(place)
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    versions = ", ".join(f"{p} {version(p)}" for p in ("statsforecast", "mlforecast", "lightgbm", "pandas", "numpy"))
    print(f"# Forecasts side by side\n\n{os.cpu_count()} cores ({cpu}), Python {platform.python_version()}, {versions}. Settings: `{digest(*SETTINGS)}`, the hash of "
          f"{', '.join(f'`{p.name}`' for p in SETTINGS)}.")
    for of in names or SETS:
        measure(of, place)
        coverage(of, place)


if __name__ == "__main__":
    main(*sys.argv[1:])
