"""Assigns what the demo's real data lacks, and writes it beside this file; the same seed gives the same files.

Real: the articles, their names, prices and sales, and the texts of the snippets. Assigned: the topic and time of a snippet; category, cost, lead time,
pack size and stock of an article; the stores' records. The mappings say `assigned` in each record.
"""

import collections
import csv
import datetime
import lzma
import math
import pathlib
import random
import statistics

SEED = 20260101
ARTICLES = 200
FIRST, LAST = datetime.date(2009, 12, 1), datetime.date(2011, 12, 9)
CATEGORIES = {
    "bags": ("BAG", "BASKET", "PURSE"),
    "kitchen": ("CAKE", "LUNCH", "MUG", "CUP", "PLATE", "TEA", "JAR", "TIN", "BOWL", "BOTTLE", "NAPKIN"),
    "candles and lights": ("LIGHT", "CANDLE", "LANTERN"),
    "christmas": ("CHRISTMAS", "ADVENT"),
    "stationery": ("CARD", "PAPER", "WRAP", "PENCIL", "NOTEBOOK", "STICKER"),
    "home": ("CUSHION", "FRAME", "CLOCK", "SIGN", "HANGER", "DOORMAT", "DRAWER", "HEART"),
}


def main():
    folder, draw = pathlib.Path(__file__).parent, random.Random(SEED)
    articles = top_articles(folder.parent / "online_retail.csv.xz")
    write(
        folder / "stores.csv",
        ["tenant", "store", "valid_from", "time_zone", "currency", "name", "location", "region"],
        [
            ["gift-uk", "online", "2009-12-01", "Europe/London", "GBP", "Gifts online", "", "GB-ENG"],
            [
                "bikeshare", "washington-dc", "2010-09-20", "America/New_York", "USD", "Bikes of Washington", "washington-dc", "US-DC",
            ],
        ],
    )
    products, stock = [], []
    for sku, article in articles.items():
        price = statistics.median(article["prices"])
        lead, pack = draw.choice([7, 14, 21]), draw.choice([1, 6, 12, 24])
        cost = max(0.01, round(price * draw.uniform(0.45, 0.65), 2))
        products.append(
            [sku, article["name"], category(article["name"]), f"{cost:.2f}", f"{price:.2f}", lead, pack]
        )
        stock += levels(sku, article["weeks"], lead, pack, draw)
    columns = ["sku", "name", "category", "unit_cost", "list_price", "lead_time_days", "pack_size"]
    write(folder / "products.csv", columns, products)
    write(folder / "inventory.csv", ["sku", "as_of", "on_hand", "on_order", "lead_time_days", "pack_size"], stock)
    write(
        folder / "snippets.csv",
        ["post_id", "topic", "posted_at", "human_valence", "text"],
        snippets(folder.parent / "vader_amazon_snippets.tsv", list(articles), draw),
    )


def top_articles(path):
    """The articles with the most receipt lines, with their prices and the units sold in each week."""
    found = collections.defaultdict(lambda: {"lines": 0, "name": "", "prices": [], "weeks": collections.Counter()})
    with lzma.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sku, name = row["StockCode"].strip().upper(), row["Description"].strip()
            if not sku[:5].isdigit() or float(row["Price"]) <= 0:
                continue
            article = found[sku]
            article["lines"] += 1
            article["name"] = name or article["name"]
            article["prices"].append(float(row["Price"]))
            day = datetime.datetime.strptime(row["InvoiceDate"], "%m/%d/%Y %H:%M").date()
            article["weeks"][(day - FIRST).days // 7] += int(row["Quantity"])
    top = sorted(found, key=lambda sku: (-found[sku]["lines"], sku))[:ARTICLES]
    return {sku: found[sku] for sku in top}


def category(name):
    words = set(name.split())
    return next((category for category, of in CATEGORIES.items() if words & set(of)), "other")


def levels(sku, weeks, lead, pack, draw):
    """Stock each Monday: ordered up to a level that the mean week asks for, sold down by what was really sold."""
    count = (LAST - FIRST).days // 7 + 1
    mean = max(1.0, sum(weeks.values()) / count)
    level = math.ceil(mean * (lead / 7 + 1) * draw.uniform(1.1, 1.5) / pack) * pack
    on_hand, arriving = level, collections.Counter()
    for week in range(count):
        on_hand += arriving.pop(week, 0)
        on_order = sum(arriving.values())
        wanted = math.ceil(max(0, level - on_hand - on_order) / pack) * pack
        if wanted:
            arriving[week + lead // 7] += wanted
        as_of = f"{FIRST + datetime.timedelta(days=7 * week)}T06:00:00Z"
        yield [sku, as_of, on_hand, on_order + wanted, lead, pack]
        on_hand = max(0, on_hand - max(0, weeks.get(week, 0)))


def snippets(path, topics, draw):
    seconds = (LAST - FIRST).days * 86_400
    for line in path.read_text(encoding="utf-8").splitlines():
        post, valence, text = line.split("\t", 2)
        at = datetime.datetime.combine(FIRST, datetime.time()) + datetime.timedelta(seconds=draw.randrange(seconds))
        yield [post, draw.choice(topics), f"{at.isoformat()}Z", valence, text]


def write(path, columns, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)


main()
