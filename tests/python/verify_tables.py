"""Compares tables of a lake, row by row, with what the product's own `sql` says of them. Arguments: the lake's root, a folder with {schema}.{table}.csv.

The log is read by deltalake, the files by DuckDB, both from PyPI. Prints for each table its rows, and how many of them only one side has. Bytes are left out:
CSV has no form for them that both know. So are the hashes, which SQL does not show, and in curated/sales the rows that it does not count.
"""

import json
import pathlib
import sys

import duckdb
from deltalake import DeltaTable

from verify_sales import storage_options

HASHES = ("_key_hash", "_content_hash")


def main() -> None:
    root, answers = sys.argv[1].rstrip("/"), pathlib.Path(sys.argv[2])
    report = {}
    for answer in sorted(answers.glob("*.csv")):
        schema, name = answer.stem.split(".")
        # What `sql` calls raw.{feed} are all records of the table curated/{feed}.
        folder = f"curated/{name}" if schema == "raw" and name != "dead_letters" else f"{schema}/{name}"
        table = DeltaTable(f"{root}/lake/{folder}", storage_options=storage_options(root))
        db = duckdb.connect()
        db.execute("SET TimeZone = 'UTC'")
        db.register("files", table.to_pyarrow_dataset())
        described = db.execute("DESCRIBE files").fetchall()
        columns = [(column, kind) for column, kind, *_ in described if kind != "BLOB" and column not in HASHES]
        counted = "files WHERE NOT _duplicate" if answer.stem == "curated.sales" else "files"
        db.execute(f"CREATE TABLE told AS FROM read_csv('{answer}', all_varchar = true, header = true, null_padding = false)")
        theirs = ", ".join(f'"{column}"' for column, _ in columns)
        ours = ", ".join(f'CAST("{column}" AS {kind}) AS "{column}"' for column, kind in columns)
        only = lambda one, other: db.execute(
            f"SELECT count(*) FROM (SELECT {one} EXCEPT ALL SELECT {other})"
        ).fetchone()[0]
        report[answer.stem] = {
            "rows": db.execute(f"SELECT count(*) FROM {counted}").fetchone()[0],
            "only_theirs": only(f"{theirs} FROM {counted}", f"{ours} FROM told"),
            "only_ours": only(f"{ours} FROM told", f"{theirs} FROM {counted}"),
            "columns": len(columns),
        }
    print(json.dumps(report))


main()
