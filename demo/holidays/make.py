"""Writes the tables of public holidays beside this file, from PyPI's `holidays` 0.109 (MIT).

A table has the holidays of the whole country under its code (US, GB, DE), and of each part only those that are not the whole country's: events of a region
hold in its parts too.
"""

import csv
import pathlib

import holidays

YEARS = range(2009, 2029)
COUNTRIES = {"us": "US", "uk": "GB", "de": "DE"}


def main():
    folder = pathlib.Path(__file__).parent
    for name, country in COUNTRIES.items():
        everywhere = dict(holidays.country_holidays(country, years=YEARS, language="en_US"))
        rows = [(country, day, title) for day, title in everywhere.items()]
        for part in holidays.country_holidays(country).subdivisions:
            local = holidays.country_holidays(country, subdiv=part, years=YEARS, language="en_US")
            rows += [(f"{country}-{part}", day, title) for day, title in local.items() if day not in everywhere]
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["region", "date", "name"])
            table.writerows(sorted(rows))


main()
