#!/usr/bin/env python3
"""How fast fastavro is, see main.rs: speed.py SCHEMA FOLDER ROUNDS prints a row for each format, as JSON."""

import datetime
import io
import json
import pathlib
import platform
import statistics
import sys
import time

import fastavro

EPOCH = datetime.datetime(1970, 1, 1)
TYPES = ["CREATED", "PAYMENT_COMPLETED", "SHIPPED", "DELIVERED", "CANCELLED"]


def records(path):
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def add_up(events):
    sums = dict.fromkeys(["events", "cents", "pieces", "letters", "types", "milliseconds"], 0)
    hundredths = lambda money: int(money * 100)
    for event in events:
        sums["events"] += 1
        sums["cents"] += hundredths(event["amount"])
        sums["pieces"] += event["itemCount"]
        sums["letters"] += sum(len(event[name].encode()) for name in ("orderId", "userId", "category"))
        sums["types"] += TYPES.index(event["eventType"])
        # Whole milliseconds: a float of the seconds would lose some.
        since = event["timestamp"].replace(tzinfo=None) - EPOCH
        sums["milliseconds"] += (since.days * 86400 + since.seconds) * 1000 + since.microseconds // 1000
        for item in event["items"]:
            sums["cents"] += hundredths(item["price"])
            sums["pieces"] += item["quantity"]
            sums["letters"] += len(item["productId"].encode()) + len(item["productName"].encode())
    return sums


def median(rounds, count, work):
    times = []
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - begin) / count)
    return statistics.median(times)


def fnv(records):
    value = 0xCBF29CE484222325
    for record in records:
        for byte in record:
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def measure(name, given, header, schema, rounds):
    def decode(record):
        if not record.startswith(header):
            raise ValueError("another header")
        return fastavro.schemaless_reader(io.BytesIO(record[len(header) :]), schema, None)

    def encode(event):
        out = io.BytesIO()
        out.write(header)
        fastavro.schemaless_writer(out, schema, event)
        return out.getvalue()

    def decode_all():
        for record in given:
            decode(record)

    events = [decode(record) for record in given]

    def encode_all():
        for event in events:
            encode(event)

    written = [encode(event) for event in events]
    row = {
        "format": name,
        "who": f"fastavro {fastavro.__version__} (Python {platform.python_version()})",
        "decode": median(rounds, len(given), decode_all),
        "encode": median(rounds, len(given), encode_all),
        "bytes": sum(map(len, written)) / len(written),
        "hash": fnv(written),
        "sums": add_up(events),
    }
    print(json.dumps(row), flush=True)


def main():
    schema_file, folder, rounds = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    schema = fastavro.parse_schema(json.loads(schema_file.read_text()))
    for name, length in (("avro", 5), ("avro-single-object", 10)):
        given = records(folder / name)
        measure(name, given, given[0][:length], schema, rounds)


if __name__ == "__main__":
    main()
