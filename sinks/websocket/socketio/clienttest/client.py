"""Drives the conformance server with python-socketio:

    python3 client.py <polling|websocket|upgrade> <http://host:port>

It ends with 0 if everything is as it should be, else it says what is not.
"""

import os
import queue
import sys
import threading
import time

import socketio

mode, url = sys.argv[1:]
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": None}[mode]
PATIENCE = 10


class Client:
    """A client whose events are put into one queue."""

    def __init__(self, namespaces=("/",), path="ext", auth=None, **options):
        self.events = queue.Queue()
        self.sio = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.1, **options)
        for namespace in namespaces:
            for name in ("connect", "disconnect", "connect_error"):
                self.sio.on(name, self.taker(name), namespace=namespace)
            self.sio.on("*", lambda name, *args: self.events.put((name, *args)), namespace=namespace)
        self.sio.connect(url, socketio_path=path, transports=TRANSPORTS, namespaces=list(namespaces), auth=auth, wait_timeout=PATIENCE)

    def taker(self, name):
        return lambda *args: self.events.put((name, *args))

    def expect(self, *want):
        """Returns the next event called want[0], and compares its arguments."""
        while True:
            got = self.events.get(timeout=PATIENCE)
            if got[0] == want[0]:
                break
        assert len(want) == 1 or got == want, f"got {got}, want {want}"
        return got[1:]

    def call(self, name, *args):
        return self.sio.call(name, args if len(args) != 1 else args[0], timeout=PATIENCE)


def transport_and_protocol():
    c = Client()
    state = c.call("state")
    assert state["transport"] == ("polling" if mode == "polling" else "websocket"), state
    assert state["protocol"] == 4
    return c


def events_both_ways():
    c = Client()
    c.sio.emit("message", (1, "2", {"3": [True, None]}, "é😀"))
    c.expect("message-back", 1, "2", {"3": [True, None]}, "é😀")
    c.sio.emit("message", (b"\x01\x02", {"nested": [b"\xff"]}))
    c.expect("message-back", b"\x01\x02", {"nested": [b"\xff"]})
    return c


def acknowledgements_both_ways():
    c = Client()
    assert c.call("message-with-ack", {"a": b"\x00"}) == {"a": b"\x00"}
    c.sio.on("call", lambda n: (n + 1, "yes"))
    c.sio.emit("call-me", 41)
    c.expect("call-result", 42, "yes")
    return c


def bursts():
    c = Client()
    # This client handles each event in a thread of its own, in any order.
    c.sio.emit("burst", 500)
    assert sorted(c.expect("seq") for _ in range(500)) == [(i,) for i in range(500)]
    c.sio.emit("burst-binary", 100)
    want = [(i, bytes([i, 1, 2])) if i % 2 == 0 else (i,) for i in range(100)]
    assert sorted(c.expect("seq") for _ in range(100)) == want
    return c


def rooms():
    a, b = Client(), Client()
    a.call("join", "python")
    b.sio.emit("to", ("python", "news", 1))
    a.expect("news", 1)
    a.call("leave", "python")
    assert a.call("rooms") == ["self"]
    b.sio.disconnect()
    return a


def namespaces():
    c = Client(namespaces=("/", "/custom", "/dynamic-3"), auth={"token": "abc"})
    assert sorted(c.sio.namespaces) == ["/", "/custom", "/dynamic-3"]
    c.sio.emit("all", ("news", 1), namespace="/dynamic-3")
    c.expect("news", 1)
    return c


def refusal():
    try:
        Client(auth={"reject": True}, reconnection=False)
    except socketio.exceptions.ConnectionError:
        return None
    raise AssertionError("was let in")


def server_disconnects():
    for close in (False, True):
        c = Client(reconnection=False)
        c.sio.emit("bye", close)
        c.expect("disconnect")
        c.sio.disconnect()
    return None


def coming_back():
    if mode == "polling":  # this client takes a close packet for the end
        return None
    c = Client(path="csr")
    c.expect("welcome")
    c.sio.emit("drop")
    c.expect("disconnect")
    welcome, _offset = c.expect("welcome")
    assert welcome["recovered"] is False  # this client does not ask for it
    return c


# The server's timeouts are a second or two. A machine that stands still for
# longer breaks connections rightly, so a scenario that saw that is repeated.
stood = 0


def watch():
    global stood
    last = time.monotonic()
    while True:
        time.sleep(0.02)
        now = time.monotonic()
        stood, last = max(stood, now - last), now


threading.Thread(target=watch, daemon=True).start()


def attempt(scenario):
    """Returns what went wrong, if anything did."""
    try:
        client = scenario()
        if client is not None:
            client.sio.disconnect()
    except Exception as error:  # pylint: disable=broad-except
        return error
    return None


failed = 0
for scenario in (
    transport_and_protocol,
    events_both_ways,
    acknowledgements_both_ways,
    bursts,
    rooms,
    namespaces,
    refusal,
    server_disconnects,
    coming_back,
):
    for _ in range(5):
        stood = 0
        error = attempt(scenario)
        if error is None or stood < 0.3:
            break
    if error is not None:
        failed = 1
        print(f"python over {mode}: {scenario.__name__}: {error!r}", file=sys.stderr)
sys.stderr.flush()
os._exit(failed)
