#!/usr/bin/env python3
"""The weekly cycle of a business of some size, timed: sales are made up, sent through Kafka into a lake, and forecast. Under scripts/with-services.

usage: cycle.py FOLDER [STORES ARTICLES DAYS]
"""
import csv
import datetime
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

STORES_MAP = Path(__file__).resolve().parents[2] / "demo" / "stores.toml"
SALES_MAP = """history = true

[feeds.sales]
tenant = { constant = "made-up" }
store = { column = "store" }
transaction_id = { column = "transaction" }
line = { constant = "1" }
sku = { column = "sku" }
quantity = { column = "quantity" }
unit_price = { constant = "1" }
currency = { constant = "GBP" }
kind = { constant = "sale" }
occurred_at = { column = "at", format = "%Y-%m-%d %H:%M", time_zone = "Europe/London" }
"""
FIRST = datetime.date(2021, 1, 1)


def poisson(random_, mean):
    """Units of a day: Poisson, from a normal where the mean is large."""
    if mean > 30:
        return max(0, round(random_.gauss(mean, math.sqrt(mean))))
    units, product, least = 0, random_.random(), math.exp(-mean)
    while product > least:
        units, product = units + 1, product * random_.random()
    return units


def make_up(folder, stores, articles, days):
    """Sizes from a log-normal, a week and a year of their own; returns the lines."""
    seeded = random.Random(1)
    lines = 0
    with open(folder / "sales.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["transaction", "store", "sku", "quantity", "at"])
        for store in range(stores):
            for article in range(articles):
                size = math.exp(seeded.gauss(1.5, 1.0))
                week = [seeded.uniform(0.6, 1.5) for _ in range(7)]
                for number in range(days):
                    day = FIRST + datetime.timedelta(number)
                    units = poisson(seeded, size * week[day.weekday()] * (1 + 0.3 * math.sin(2 * math.pi * number / 365)))
                    if units:
                        lines += 1
                        out.writerow([f"t{lines}", f"s{store}", f"a{article}", units, f"{day} 12:00"])
    (folder / "sales.toml").write_text(SALES_MAP)
    with open(folder / "stores.csv", "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["tenant", "store", "valid_from", "time_zone", "currency", "name", "location", "region"])
        out.writerows(["made-up", f"s{store}", FIRST, "Europe/London", "GBP", f"S{store}", "", "GB-ENG"] for store in range(stores))
    return lines


def main(place, stores=10, articles=100, days=1095):
    folder = Path(place) / "cycle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = make_up(folder, int(stores), int(articles), int(days))
    settings = {"INTELLICARTEL__LAKE__ROOT": str(folder / "lake"), "INTELLICARTEL__KAFKA__PREFIX": f"cycle-{uuid.uuid4().hex}"}
    environment = os.environ | settings

    def intellicartel(*arguments, **options):
        subprocess.run([os.environ["INTELLICARTEL"], *arguments], env=environment, check=True, stderr=subprocess.DEVNULL, **options)

    for file, mapping in ((folder / "stores.csv", STORES_MAP), (folder / "sales.csv", folder / "sales.toml")):
        intellicartel("produce", "--file", str(file), "--map", str(mapping))
    intellicartel("ingest", "--until-end")
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    intellicartel("forecast", "run")
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The peak is that of the largest of all children, and no other is as large.
    print(f"{lines} lines of {stores} x {articles} articles and {days} days: {wall:.1f} s wall, {cpu:.1f} CPU s, peak {after.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
