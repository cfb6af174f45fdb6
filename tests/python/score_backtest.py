"""Scores the forecasts of `forecast backtest --save-pred` by the rivals' own script. Arguments: the folder of peers.py, the Parquet file.

Prints for each model what `peers.score` says of it, and of its open days if any is closed.
"""

import json
import sys

import pandas as pd

sys.path.insert(0, sys.argv[1])
import peers


def main() -> None:
    scores = {}
    for model, rows in pd.read_parquet(sys.argv[2]).groupby("model"):
        # A model without intervals has no column of them, as in the script's own frames.
        frames = [frame.dropna(axis="columns", how="all") for _, frame in rows.groupby("_w")]
        scores[model] = peers.score(frames)
        if (rows["_active"] == 0).any():
            scores[model]["active"] = peers.score(frames, True)
    print(json.dumps(scores))


main()
