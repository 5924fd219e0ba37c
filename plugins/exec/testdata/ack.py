# Acknowledges everything: what the host and the pipe cost with Python.
import json
import sys

for line in sys.stdin:
    m = json.loads(line)
    if m["type"] == "event":
        answer = {"type": "ack", "id": m["id"]}
    elif m["type"] == "init":
        answer = {"type": "ready", "protocol": 1, "max_in_flight": 64}
    elif m["type"] == "ping":
        answer = {"type": "pong"}
    elif m["type"] == "drain":
        answer = {"type": "drained"}
    else:
        continue
    print(json.dumps(answer), flush=True)
