"""The daily marts in DuckDB, in full, from the same Parquet files as ours.

marts.py compute ROOT FOLDER   writes FOLDER/item_days.parquet and FOLDER/store_days.parquet from the feeds of the lake at ROOT
marts.py compare ROOT FOLDER   fails, and prints what differs, unless the lake's marts hold the same rows

It knows one record per store, which is what the benchmark's data has, and refuses others.
"""

import json
import sys

import duckdb
from deltalake import DeltaTable

KEYS = {
    "stores": ("tenant", "store", "valid_from"),
    "weather": ("location", "observed_for", "kind", "issued_at"),
    "events": ("tenant", "event_id"),
    "signals": ("tenant", "source", "key", "starts_on"),
    "sentiment": ("source", "post_id", "topic"),
    "inventory": ("tenant", "store", "sku", "as_of"),
    "prices": ("tenant", "sku", "competitor", "observed_at"),
}

SUMS = """
    CAST(coalesce(sum(quantity) FILTER (kind = 'sale'), 0) AS DECIMAL(28, 3)) AS units,
    CAST(-coalesce(sum(quantity) FILTER (kind = 'return'), 0) AS DECIMAL(28, 3)) AS returned_units,
    CAST(coalesce(sum(quantity * unit_price) FILTER (kind = 'sale' AND own), 0) AS DECIMAL(38, 7)) AS revenue,
    CAST(-coalesce(sum(quantity * unit_price) FILTER (kind = 'return' AND own), 0) AS DECIMAL(38, 7)) AS refunds,
    CAST(coalesce(sum(discount) FILTER (own), 0) AS DECIMAL(28, 4)) AS discounts,
    count(*) FILTER (kind = 'sale') AS sale_lines,
    count(*) FILTER (kind = 'return') AS return_lines,
    count(*) FILTER (NOT own) AS other_currency_lines
"""

SOLD = ("units", "returned_units", "revenue", "refunds", "discounts", "sale_lines", "return_lines", "other_currency_lines")

# Lines of receipts with their business day; posts by store and day; what both marts are made of.
BASE = """
CREATE TEMP TABLE lines AS
SELECT l.tenant, l.store, l.sku, l.kind, l.quantity, l.unit_price, l.discount, l.promotion,
       CAST(l.occurred_at AT TIME ZONE s.time_zone AS DATE) AS date, l.currency = s.currency AS own
FROM sales l JOIN stores s ON l.tenant = s.tenant AND l.store = s.store WHERE NOT l._duplicate;

CREATE TEMP TABLE feelings AS
SELECT s.tenant, s.store, p.topic, CAST(p.posted_at AT TIME ZONE s.time_zone AS DATE) AS date, sum(p.score) AS sum, count(*) AS posts
FROM sentiment p, stores s WHERE p.score IS NOT NULL GROUP BY ALL;
"""

ITEM_DAYS = f"""
WITH sold AS (
  SELECT tenant, store, sku, date, {SUMS}, coalesce(bool_or(promotion IS NOT NULL), false) AS is_promoted,
         sum(quantity) FILTER (kind = 'sale' AND own) AS priced_units
  FROM lines GROUP BY tenant, store, sku, date),
stock AS (
  SELECT i.tenant, i.store, i.sku, CAST(i.as_of AT TIME ZONE s.time_zone AS DATE) AS date,
         arg_max(i.on_hand, i.as_of) AS on_hand, min(i.on_hand) <= 0 AS is_stocked_out
  FROM inventory i JOIN stores s ON i.tenant = s.tenant AND i.store = s.store GROUP BY ALL),
days AS (
  SELECT tenant, store, sku, date, {", ".join(f"coalesce({name}, 0) AS {name}" for name in SOLD)},
         round(CAST(revenue AS DOUBLE) / nullif(CAST(priced_units AS DOUBLE), 0), 4) AS price,
         coalesce(is_promoted, false) AS is_promoted, on_hand, is_stocked_out
  FROM sold FULL JOIN stock USING (tenant, store, sku, date)),
ends AS (
  SELECT d.tenant, d.store, d.sku, d.date, s.currency, CAST(d.date + 1 AS TIMESTAMP) AT TIME ZONE s.time_zone AS ends
  FROM days d JOIN stores s ON d.tenant = s.tenant AND d.store = s.store),
rivals AS (
  SELECT DISTINCT tenant, sku, currency, competitor FROM prices),
lowest AS (
  SELECT a.tenant, a.store, a.sku, a.date, min(p.price) AS rival_price
  FROM (SELECT * FROM ends JOIN rivals USING (tenant, sku, currency)) a
  ASOF JOIN prices p ON a.tenant = p.tenant AND a.sku = p.sku AND a.currency = p.currency AND a.competitor = p.competitor AND a.ends > p.observed_at
  GROUP BY ALL)
SELECT d.*, l.rival_price, f.sum / f.posts AS sentiment, coalesce(f.posts, 0) AS posts
FROM days d LEFT JOIN lowest l USING (tenant, store, sku, date)
LEFT JOIN feelings f ON f.tenant = d.tenant AND f.store = d.store AND f.topic = d.sku AND f.date = d.date
"""

STORE_DAYS = f"""
WITH sold AS (
  SELECT tenant, store, date, {SUMS} FROM lines GROUP BY tenant, store, date),
days AS (
  SELECT tenant, store, CAST(unnest(generate_series(min(date), max(date), INTERVAL 1 DAY)) AS DATE) AS date FROM sold GROUP BY tenant, store),
places AS (
  SELECT tenant, store, unnest(list_transform(range(len(parts), 0, -1), lambda n: array_to_string(parts[1:n], '-'))) AS region
  FROM (SELECT tenant, store, string_split(region, '-') AS parts FROM stores)
  UNION ALL SELECT tenant, store, 'store/' || store FROM stores),
happened AS (
  SELECT d.tenant, d.store, d.date, e.*
  FROM days d JOIN places p USING (tenant, store)
  JOIN (SELECT tenant AS whose, region, kind, name, event_id, starts_on, ends_on, expected_attendance FROM events) e
    ON e.region = p.region AND (e.whose IS NULL OR e.whose = d.tenant) AND d.date BETWEEN e.starts_on AND e.ends_on),
of_day AS (
  SELECT tenant, store, date, bool_or(kind = 'closure' AND region = 'store/' || store) AS is_closed,
         first(name ORDER BY region LIKE 'store/%', len(region) DESC, name, event_id) FILTER (kind = 'holiday') AS holiday,
         bool_or(kind = 'school_holiday') AS is_school_holiday, bool_or(kind = 'promotion') AS is_promotion,
         sum(expected_attendance) AS expected_attendance
  FROM happened GROUP BY ALL),
listed AS (
  SELECT tenant, store, date, to_json(list({{'kind': kind, 'name': name}})) AS events
  FROM (SELECT DISTINCT tenant, store, date, kind, name, whose, expected_attendance FROM happened) GROUP BY ALL),
signalled AS (
  SELECT d.tenant, d.store, d.date, g.source,
         first(g.value ORDER BY g.key = 'store/' || s.store DESC, g.tenant IS NOT NULL DESC, g.starts_on DESC) AS value
  FROM days d JOIN stores s ON d.tenant = s.tenant AND d.store = s.store
  JOIN signals g ON g.key IN (s.region, 'store/' || s.store) AND (g.tenant IS NULL OR g.tenant = s.tenant) AND d.date BETWEEN g.starts_on AND g.ends_on
  GROUP BY d.tenant, d.store, d.date, g.source),
signals_of_day AS (
  SELECT tenant, store, date, json_group_object(source, value) AS signals FROM signalled GROUP BY ALL),
weather_of_day AS (
  SELECT * FROM weather QUALIFY row_number() OVER (PARTITION BY location, observed_for ORDER BY kind = 'observed' DESC, issued_at DESC NULLS FIRST) = 1),
felt AS (
  SELECT f.tenant, f.store, f.date, sum(f.sum) AS sum, CAST(sum(f.posts) AS BIGINT) AS posts
  FROM feelings f JOIN stores s ON f.tenant = s.tenant AND f.store = s.store WHERE f.topic IN (s.location, s.region) GROUP BY ALL)
SELECT d.tenant, d.store, d.date,
       coalesce(e.is_closed, false) OR coalesce(s.opened_on > d.date, false) OR coalesce(d.date >= s.closed_on, false) AS is_closed,
       s.currency, s.time_zone, {", ".join(f"coalesce(sold.{name}, 0) AS {name}" for name in SOLD)},
       w.kind AS weather_kind, w.temp_mean_c, w.temp_min_c, w.temp_max_c, w.precipitation_mm, w.wind_kmh, w.humidity, w.condition,
       e.holiday, coalesce(e.is_school_holiday, false) AS is_school_holiday, coalesce(e.is_promotion, false) AS is_promotion,
       l.events, CAST(e.expected_attendance AS BIGINT) AS expected_attendance, g.signals,
       felt.sum / felt.posts AS sentiment, coalesce(felt.posts, 0) AS posts
FROM days d JOIN stores s ON d.tenant = s.tenant AND d.store = s.store
LEFT JOIN sold ON sold.tenant = d.tenant AND sold.store = d.store AND sold.date = d.date
LEFT JOIN weather_of_day w ON w.location = s.location AND w.observed_for = d.date
LEFT JOIN of_day e ON e.tenant = d.tenant AND e.store = d.store AND e.date = d.date
LEFT JOIN listed l ON l.tenant = d.tenant AND l.store = d.store AND l.date = d.date
LEFT JOIN signals_of_day g ON g.tenant = d.tenant AND g.store = d.store AND g.date = d.date
LEFT JOIN felt ON felt.tenant = d.tenant AND felt.store = d.store AND felt.date = d.date
"""

MARTS = {"item_days": (ITEM_DAYS, ("tenant", "store", "sku", "date")), "store_days": (STORE_DAYS, ("tenant", "store", "date"))}


def view(db: duckdb.DuckDBPyConnection, root: str, schema: str, name: str, prefix: str = "") -> list[str]:
    """The active files of a table as a view; gives its columns."""
    files = [uri.removeprefix("file://") for uri in DeltaTable(f"{root}/lake/{schema}/{name}").file_uris()]
    db.execute(f"CREATE VIEW {prefix}{name} AS SELECT * FROM read_parquet({files})")
    return [column for column, *_ in db.execute(f"DESCRIBE {prefix}{name}").fetchall()]


def compute(root: str, folder: str) -> None:
    db = duckdb.connect()
    view(db, root, "curated", "sales")
    for name, key in KEYS.items():
        columns = view(db, root, "curated", name, "all_")
        issued = "coalesce(issued_at, _timestamp)" if "issued_at" in columns else "_timestamp"
        newest = ", ".join(f"{column} DESC NULLS LAST" for column in (issued, "_timestamp", "_log", "_offset", "_partition"))
        db.execute(
            f"CREATE TEMP TABLE {name} AS SELECT * FROM all_{name} "
            f"QUALIFY row_number() OVER (PARTITION BY {', '.join(key)} ORDER BY {newest}) = 1"
        )
    several = db.execute("SELECT tenant, store FROM stores GROUP BY ALL HAVING count(*) > 1").fetchall()
    if several:
        sys.exit(f"stores with several records: {several}")
    db.execute(BASE)
    for name, (query, _) in MARTS.items():
        db.execute(f"COPY ({query}) TO '{folder}/{name}.parquet' (COMPRESSION zstd)")


def compare(root: str, folder: str) -> None:
    db = duckdb.connect()
    for name, (_, key) in MARTS.items():
        ours = view(db, root, "marts", name)
        db.execute(f"CREATE VIEW theirs_{name} AS SELECT * FROM read_parquet('{folder}/{name}.parquet')")
        theirs = [column for column, *_ in db.execute(f"DESCRIBE theirs_{name}").fetchall()]
        if missing := set(theirs) ^ set(ours) - {"period"}:
            sys.exit(f"{name}: not in both: {sorted(missing)}")
        differs = {column: difference(column) for column in theirs if column not in key}
        rows = db.execute(
            f"SELECT {{{', '.join(f'{column}: coalesce(a.{column}, b.{column})' for column in key)}}}, "
            f"{{{', '.join(f'{column}: ({differs[column]}, a.{column}, b.{column})' for column in differs)}}} "
            f"FROM {name} a FULL JOIN theirs_{name} b ON {' AND '.join(f'a.{column} = b.{column}' for column in key)} "
            f"WHERE {' OR '.join(differs.values())}"
        ).fetchall()
        unlike = [(day, found) for day, values in rows if (found := unequal(values))]
        if unlike:
            sys.exit(f"{name}: {len(unlike)} rows differ, the first of them: {unlike[:3]}")
        print(f"{name}: {db.execute(f'SELECT count(*) FROM {name}').fetchone()[0]} rows are equal")


def difference(column: str) -> str:
    """When two values differ: prices are rounded half up there and half to even here; means are sums in another order."""
    a, b = f"a.{column}", f"b.{column}"
    tolerance = {"price": 0.00011, "sentiment": 1e-9}.get(column)
    if tolerance is None:
        return f"({a} IS DISTINCT FROM {b})"
    return f"(({a} IS NULL) <> ({b} IS NULL) OR coalesce(abs({a} - {b}) > {tolerance}, false))"


def unequal(values: dict) -> dict:
    """The columns whose values differ, with both; JSON is compared by what it says."""

    def said(value: str | None) -> object:
        read = json.loads(value or "null")
        return sorted(map(json.dumps, read)) if isinstance(read, list) else read

    of = lambda column, pair: tuple(map(said, pair)) if column in ("events", "signals") else pair
    pairs = {column: of(column, pair) for column, (differs, *pair) in values.items() if differs}
    return {column: (a, b) for column, (a, b) in pairs.items() if column not in ("events", "signals") or a != b}


if __name__ == "__main__":
    {"compute": compute, "compare": compare}[sys.argv[1]](sys.argv[2], sys.argv[3])
