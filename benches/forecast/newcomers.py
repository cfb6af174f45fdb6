#!/usr/bin/env python3
"""What articles younger than 56 days sell in the next 28: by their own days, and beside articles that were new before them (decision 024).

usage: intellicartel sql --as gift-uk "SELECT sku, date, units - returned_units AS units FROM marts.item_days WHERE sale_lines + return_lines > 0" --output csv > DAYS.csv
       newcomers.py DAYS.csv
"""
import sys

import numpy as np
import pandas as pd

AHEAD, YOUNG, YEAR, UNTOLD = 28, 56, 364, 60
# Fortnightly origins, in days from the first: those by which a weight was chosen, and those looked at once.
ORIGINS = {"chosen by": range(150, 520, 14), "looked at once": range(534, 700, 14)}


def main(path):
    days = pd.read_csv(path, parse_dates=["date"], dtype={"sku": str, "units": float})
    whole = pd.date_range(days.date.min(), days.date.max())
    units = days.pivot_table(index="date", columns="sku", values="units", aggfunc="sum").reindex(whole).fillna(0)
    first = ((days.groupby("sku").date.min().reindex(units.columns) - whole[0]).dt.days).to_numpy()
    units = units.to_numpy()
    for name, origins in ORIGINS.items():
        # By whether the first day counts, and how many own days those of others count as.
        off = {(skip, weight): [] for skip, weight in [(0, 0), (1, 0), (1, 3), (1, 7), (1, 14), (1, 28)]}
        for origin in origins:
            age = origin - first
            peers = [j for j in range(len(first)) if AHEAD < age[j] <= YEAR and first[j] > UNTOLD]
            mean = np.concatenate([units[first[j] + 1:first[j] + 1 + AHEAD, j] for j in peers]).mean()
            for j in np.flatnonzero((age > 0) & (age < YOUNG)):
                came = units[origin:origin + AHEAD, j].sum()
                for (skip, weight), made in off.items():
                    own = units[first[j] + skip:origin, j]
                    made.append((AHEAD * (own.sum() + weight * mean) / max(len(own) + weight, 1), came))
        for (skip, weight), made in off.items():
            made = np.array(made)
            error, bias = np.abs(made[:, 0] - made[:, 1]).mean(), made[:, 0].sum() / made[:, 1].sum() - 1
            print(f"{name}: {len(made)} forecasts, first day {'left out' if skip else 'counted'}, others as {weight} days: error {error:.0f}, {bias:+.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
