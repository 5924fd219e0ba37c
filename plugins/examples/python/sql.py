#!/usr/bin/env python3
"""Inserts every event into a SQL table: SQLite's here, any database with a Python driver likewise."""
import json
import sqlite3
import sys

TABLE = """CREATE TABLE IF NOT EXISTS events (
    key TEXT PRIMARY KEY, event TEXT, instance TEXT, date_time TEXT, data TEXT)"""


def say(**message):
    print(json.dumps(message), flush=True)


def insert(db, m):
    row = m["key"], m["event"], m["instance"], m["date_time"], json.dumps(m["data"])
    try:
        with db:  # the key makes an event that comes twice one row
            db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?)", row)
        say(type="ack", id=m["id"])
    except sqlite3.OperationalError as e:  # locked, full: the event is not the reason
        say(type="nack", id=m["id"], error=str(e), unavailable=True)
    except (sqlite3.Error, UnicodeError) as e:
        say(type="nack", id=m["id"], error=str(e), permanent=True)


for line in sys.stdin:
    m = json.loads(line)
    if m["type"] == "init":
        db = sqlite3.connect(m["config"]["database"])
        db.execute(TABLE)
        say(type="ready", protocol=1, max_in_flight=64)
    elif m["type"] == "event":
        insert(db, m)
    elif m["type"] == "ping":
        say(type="pong")
    elif m["type"] == "drain":
        say(type="drained")
