"""The three sets of series, the flags that both sides are given, and how each side is run."""
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = HERE.parents[2] / "shared" / "peers"

WEATHER = "temp_mean,temp_max,precip_mm,wind_mean,cloud"
# Flags of a set that both sides know, and the rows of `--holdback`: windows times horizon.
SETS = {
    "rossmann": (126, "--input series/rossmann_daily.csv.gz --freq D --season 7 --horizon 42 --windows 3 --mask open --clip0"
                      " --median-by promo --static store_type,assortment,promo2,state"
                      f" --shift open,promo,school_holiday,state_holiday --ignore search_trend --oracle {WEATHER}"),
    "daily": (84, "--input series/uci_daily_top200.csv.gz --freq D --season 7 --horizon 28 --windows 3 --clip0 --min-train 56"
                  " --static price_median --shift bank_holiday"),
    "weekly": (16, "--input series/uci_weekly_top200.csv.gz --freq W-MON --season 52 --horizon 8 --windows 2 --clip0"
                   " --min-train 26 --static price_median"),
}
# What the rivals' own runs give to LightGBM beside what is tuned.
RIVAL_ALONE = {"rossmann": "--id-feature", "daily": "", "weekly": ""}


def flags(side, name, holdback=False):
    """Flags of a set for a side; with `holdback`, as if the rows of the evaluation had not happened yet."""
    rows, line = SETS[name]
    alone = RIVAL_ALONE[name] if side == "rival" else ""
    return line.split() + alone.split() + (["--holdback", str(rows)] if holdback else [])


def workplace(folder):
    """A copy of the rivals' scripts and series, made once, in which both sides are run."""
    folder = Path(folder)
    if not (folder / "peers.py").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(PEERS / "peers.py", folder)
        shutil.copytree(PEERS / "series", folder / "series", dirs_exist_ok=True)
    return folder


def run(side, folder, arguments):
    """Runs a side's program in a workplace; raises when it fails."""
    program = [os.environ["INTELLICARTEL_BENCH_PYTHON"], "peers.py"] if side == "rival" else \
        [os.environ["INTELLICARTEL"], "forecast", "backtest"]
    subprocess.run([*program, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def digest(*paths):
    """The hash that a table prints for files of settings."""
    return hashlib.sha256(b"".join(Path(p).read_bytes() for p in paths)).hexdigest()[:12]
