"""Reads a lake's sales, dead letters and forecasts with deltalake and DuckDB, both from PyPI, and prints what stands there as JSON.

rows, letters: physical rows of the active files. doubled_rows, doubled_letters: coordinates (_topic, _log, _partition, _offset) that stand more than
once. in_both: coordinates that are rows and letters. misplaced: rows of the tests' stream whose transaction does not name their coordinates.
partitions: for each partition (log numbers are told apart by rows of their own), rows, letters, first and last offset of both.
counted_rows, counted_quantity: those of rows that are no duplicates. quantity, revenue: exact sums as text. forecasts: rows, and the exact sum of their means. versions, history, periods: each table's version, its readable commits, its partition values.
"""

import json
import os
import sys

import duckdb
from deltalake import DeltaTable

TABLES = ("curated/sales", "raw/dead_letters", "marts/forecasts")


def storage_options(root: str) -> dict[str, str] | None:
    if not root.startswith("s3://"):
        return None
    setting = lambda name: os.environ[f"INTELLICARTEL__S3__{name}"]
    return {
        "AWS_ENDPOINT_URL": setting("ENDPOINT"),
        "AWS_REGION": setting("REGION"),
        "AWS_ACCESS_KEY_ID": setting("ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY": setting("SECRET_ACCESS_KEY"),
        "AWS_ALLOW_HTTP": "true",
    }


def main() -> None:
    root = sys.argv[1].rstrip("/")
    options = storage_options(root)
    tables = {name: DeltaTable(f"{root}/lake/{name}", storage_options=options) for name in TABLES}
    sales = tables["curated/sales"].to_pyarrow_dataset()
    letters = tables["raw/dead_letters"].to_pyarrow_dataset()
    db = duckdb.connect()
    db.register("sales", sales)
    db.register("letters", letters)
    db.register("forecasts", tables["marts/forecasts"].to_pyarrow_dataset())
    at = "_topic, _log, _partition, _offset"
    one = lambda query: db.execute(query).fetchone()
    doubled = lambda table: one(f"SELECT count(*) FROM (SELECT {at} FROM {table} GROUP BY ALL HAVING count(*) > 1)")[0]
    partitions = db.execute(
        f"""SELECT _log, _partition, sum(row), sum(letter), min(_offset), max(_offset) FROM (
              SELECT _log, _partition, _offset, 1 AS row, 0 AS letter FROM sales
              UNION ALL SELECT _log, _partition, _offset, 0, 1 FROM letters) GROUP BY ALL"""
    ).fetchall()
    logs = {log for log, *_ in partitions}
    quantity, revenue, rows = one("SELECT sum(quantity), sum(CAST(quantity AS DECIMAL(18,3)) * CAST(unit_price AS DECIMAL(18,4))), count(*) FROM sales")
    counted_rows, counted_quantity = one("SELECT count(*), sum(quantity) FROM sales WHERE NOT _duplicate")
    report = {
        "rows": rows,
        "counted_rows": counted_rows,
        "counted_quantity": str(counted_quantity),
        "letters": one("SELECT count(*) FROM letters")[0],
        "doubled_rows": doubled("sales"),
        "doubled_letters": doubled("letters"),
        "in_both": one(f"SELECT count(*) FROM (SELECT {at} FROM sales INTERSECT SELECT {at} FROM letters)")[0],
        "misplaced": one("SELECT count(*) FROM sales WHERE transaction_id <> 't-' || _partition || '-' || _offset")[0],
        "partitions": {
            (str(partition) if len(logs) < 2 else f"{log}/{partition}"): {
                "rows": int(rows), "letters": int(dead), "first": first, "last": last,
            }
            for log, partition, rows, dead, first, last in partitions
        },
        "quantity": str(quantity),
        "revenue": str(revenue),
        "forecasts": [str(figure) for figure in one("SELECT count(*), sum(CAST(mean AS DECIMAL(30, 9))) FROM forecasts")],
        "versions": {name: table.version() for name, table in tables.items()},
        "history": {name: len(table.history()) for name, table in tables.items()},
        "periods": {name: sorted(p["period"] for p in table.partitions()) for name, table in tables.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
