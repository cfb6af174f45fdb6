"""The peer in Python: confluent-kafka, orjson, pyarrow and deltalake, as a data engineer would write it by hand. Reads a topic to its end into a
Delta table, a commit a second; without exactly-once, dead letters or checks."""

import os
import sys
import time

import orjson
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, TopicPartition
from deltalake import write_deltalake

FLUSH_SECONDS = 1.0
TEXTS = ["tenant", "store", "transaction_id", "sku", "product_name", "currency", "kind", "customer", "country", "raw_sku"]


def table(values: list[bytes], partitions: list[int], offsets: list[int]) -> pa.Table:
    rows = orjson.loads(b"[" + b",".join(values) + b"]")
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in TEXTS}
    columns["line"] = pa.array([row["line"] for row in rows], pa.int64())
    columns["quantity"] = pa.array([row["quantity"] for row in rows], pa.string()).cast(pa.decimal128(18, 3))
    columns["unit_price"] = pa.array([row["unit_price"] for row in rows], pa.string()).cast(pa.decimal128(18, 4))
    columns["occurred_at"] = pa.array([row["occurred_at"] for row in rows], pa.string()).cast(pa.timestamp("us", "UTC"))
    columns["_partition"] = pa.array(partitions, pa.int32())
    columns["_offset"] = pa.array(offsets, pa.int64())
    return pa.table(columns)


def main() -> None:
    topic, target = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["INTELLICARTEL__KAFKA__BROKERS"],
            "group.id": "loop",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            # The same reading ahead as the others allow themselves.
            "queued.min.messages": 10_000_000,
            "queued.max.messages.kbytes": 384 * 1024 // 8,
            "fetch.queue.backoff.ms": 10,
        }
    )
    count = len(consumer.list_topics(topic, 10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
    ended, flushed = 0, time.monotonic()
    values, partitions, offsets = [], [], []
    while ended < count:
        for message in consumer.consume(10_000, 0.05):
            if message.error() is None:
                values.append(message.value())
                partitions.append(message.partition())
                offsets.append(message.offset())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise RuntimeError(message.error())
        if values and (time.monotonic() - flushed > FLUSH_SECONDS or ended == count):
            write_deltalake(target, table(values, partitions, offsets), mode="append")
            values, partitions, offsets = [], [], []
            flushed = time.monotonic()


main()
