// Drives the conformance server with one of the official clients:
//
//   node client.mjs <client package> <polling|websocket|upgrade> <http://host:port>
//
// It ends with 0 if everything is as it should be, else it says what is not.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const [, , client, mode, url] = process.argv;
const io = createRequire(import.meta.url)(client);
const connect = typeof io === "function" ? io : io.io;
const old = client === "client-2.5"; // protocol revision 4: no auth, no connect_error packets with objects
const recovers = client === "client-4.8";
const sockets = [];

// open returns a new socket on a connection of its own.
function open(namespace = "/", options = {}, path = "/ext/") {
  const socket = connect(url + namespace, {
    path,
    transports: { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[mode],
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 50,
    ...options,
  });
  sockets.push(socket);
  return socket;
}

// once resolves with the arguments of the next event called name.
function once(socket, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no "${name}" came`)), 10000);
    socket.once(name, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

// call emits an event and resolves with its acknowledgement.
function call(socket, name, ...args) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`"${name}" was not acknowledged`)), 10000);
    socket.emit(name, ...args, (...answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

// connected opens a socket and waits until it has joined, and until the
// transport is the one wanted.
async function connected(namespace, options, path) {
  const socket = open(namespace, options, path);
  await once(socket, "connect");
  if (mode === "upgrade" && socket.io.engine.transport.name !== "websocket") {
    await once(socket.io.engine, "upgrade");
  }
  return socket;
}

// eventually waits until f returns something true, and returns it.
async function eventually(f) {
  for (let i = 0; i < 500; i++) {
    const value = await f();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never came to be: ${f}`);
}

// received resolves with the arguments of the next count events called name.
function received(socket, name, count) {
  return new Promise((resolve, reject) => {
    const all = [];
    const timer = setTimeout(() => reject(new Error(`${all.length} of ${count} "${name}" came`)), 20000);
    socket.on(name, (...args) => {
      all.push(args);
      if (all.length === count) {
        clearTimeout(timer);
        resolve(all);
      }
    });
  });
}

const bytes = (value) => [...new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength)];

const scenarios = {
  async "transport and protocol"() {
    const [state] = await call(await connected(), "state");
    assert.equal(state.transport, mode === "polling" ? "polling" : "websocket");
    assert.equal(state.protocol, old ? 3 : 4);
  },

  async "events both ways"() {
    const socket = await connected();
    for (const args of [[], [1, "2", { 3: [true, null] }], ["é😀\u2028<&>"], [{ deep: { deeper: [] } }]]) {
      const back = once(socket, "message-back");
      socket.emit("message", ...args);
      assert.deepEqual(await back, args);
    }
  },

  async "acknowledgements both ways"() {
    const socket = await connected();
    assert.deepEqual(await call(socket, "message-with-ack", 1, { a: 2 }), [1, { a: 2 }]);
    socket.on("call", (n, ack) => ack(n + 1, "yes"));
    const result = once(socket, "call-result");
    socket.emit("call-me", 41);
    assert.deepEqual(await result, [42, "yes"]);
    const late = once(socket, "call-timeout-result");
    socket.emit("call-timeout", 50);
    assert.deepEqual(await late, ["timeout"]);
  },

  async "binary both ways"() {
    const socket = await connected();
    const back = once(socket, "message-back");
    socket.emit("message", Buffer.from([1, 2, 3]), { nested: [Buffer.from([255, 0])] }, "text");
    const [first, second, third] = await back;
    assert.deepEqual([bytes(first), bytes(second.nested[0]), third], [[1, 2, 3], [255, 0], "text"]);
    const [answer] = await call(socket, "message-with-ack", Buffer.alloc(5000, 7));
    assert.deepEqual(bytes(answer), Array(5000).fill(7));
  },

  async "bursts in order"() {
    const socket = await connected();
    const texts = received(socket, "seq", 3000);
    socket.emit("burst", 3000);
    assert.deepEqual(await texts, Array.from({ length: 3000 }, (_, i) => [i]));
    socket.off("seq");
    const mixed = received(socket, "seq", 500);
    socket.emit("burst-binary", 500);
    (await mixed).forEach(([n, binary], i) => {
      assert.equal(n, i);
      if (i % 2 === 0) assert.deepEqual(bytes(binary), [i & 255, 1, 2]);
    });
  },

  async "volatile events"() {
    const socket = await connected();
    let last = -1;
    socket.on("vol", (i) => {
      assert.ok(i > last);
      last = i;
    });
    const end = once(socket, "vol-end");
    socket.emit("volatile", 20);
    assert.deepEqual(await end, [20]);
  },

  async rooms() {
    const [a, b, c] = [await connected(), await connected(), await connected()];
    const seen = { a: [], b: [], c: [] };
    for (const [name, socket] of Object.entries({ a, b, c })) socket.on("news", (what) => seen[name].push(what));
    const room = `room-${client}-${mode}`;
    await call(a, "join", [room, room + "2"]);
    await call(b, "join", room);
    assert.deepEqual(await call(b, "rooms"), [[room, "self"]]);
    a.emit("to", room, "news", "to");
    a.emit("in", [room, room + "2"], "news", "in");
    c.emit("to", room + "2", "news", "second");
    for (const socket of [a, c]) await call(socket, "rooms"); // all that has been handled
    await call(b, "leave", room);
    c.emit("in", room, "news", "after");
    for (const socket of [c, a, b]) await call(socket, "rooms");
    assert.deepEqual(seen.b, ["to", "in"]);
    assert.deepEqual(seen.a.sort(), ["after", "in", "second"]);
    assert.deepEqual(seen.c, []);
    b.on("ask", (ack) => ack("b"));
    a.on("ask", () => {});
    await call(b, "join", room);
    const result = once(c, "broadcast-ack-result");
    c.emit("broadcast-ack", room, 200);
    assert.deepEqual(await result, [true, ["b"]]);
  },

  async namespaces() {
    const manager = await connected("/", { forceNew: true });
    const custom = manager.io.socket("/custom", { auth: { token: "abc" }, query: "token=abc" });
    const auth = once(custom, "auth");
    custom.connect();
    assert.deepEqual(await auth, [{ token: "abc" }]);
    assert.notEqual(custom.id, manager.id);
    const dynamic = manager.io.socket("/dynamic-7");
    const hello = once(dynamic, "dynamic");
    dynamic.connect();
    assert.deepEqual(await hello, ["/dynamic-7"]);
    for (const [name, message] of [["/closed", "closed"], ["/nowhere", "Invalid namespace"]]) {
      const refused = manager.io.socket(name);
      const why = once(refused, old ? "error" : "connect_error");
      refused.connect();
      const [error] = await why;
      assert.equal(error.message ?? error, message);
    }
    custom.disconnect();
    assert.deepEqual(await call(manager, "message-with-ack", "alive"), ["alive"]);
  },

  async "a refusal with data"() {
    if (old) return;
    const socket = open("/", { auth: { reject: true } });
    const [error] = await once(socket, "connect_error");
    assert.equal(error.message, "not authorized");
    assert.deepEqual(error.data, { code: "E401", retry: false });
    socket.auth = { tag: "again" };
    socket.connect();
    await once(socket, "connect");
  },

  async "ends and their reasons"() {
    const witness = await connected();
    const ends = [
      [(s) => s.emit("bye", false), "io server disconnect", "server namespace disconnect"],
      [(s) => s.emit("bye", true), "io server disconnect", "server namespace disconnect"],
      [(s) => s.disconnect(), "io client disconnect", /^(client namespace disconnect|transport close)$/],
      [(s) => s.io.engine.close(), /^(forced close|transport close)$/, "transport close"],
    ];
    for (const [i, [end, clientSide, serverSide]] of ends.entries()) {
      const tag = `${client}-${mode}-${i}`;
      const socket = await connected("/", { auth: { tag }, reconnection: false });
      const seen = once(socket, "disconnect");
      end(socket);
      const [why] = await seen;
      assert.match(why, clientSide instanceof RegExp ? clientSide : new RegExp(`^${clientSide}$`));
      if (old) continue; // cannot give its tag
      const told = await eventually(async () => (await call(witness, "reason", tag))[0]);
      assert.match(told.reason, serverSide instanceof RegExp ? serverSide : new RegExp(`^${serverSide}$`));
      assert.deepEqual(told.rooms, ["self"]);
    }
  },

  async "coming back"() {
    if (old) return; // the mount speaks revision 4 only
    const welcomes = [];
    const socket = open("/", {}, "/csr/");
    socket.on("welcome", (welcome) => welcomes.push(welcome));
    await eventually(() => welcomes.length === 1 && (mode !== "upgrade" || socket.io.engine.transport.name === "websocket"));
    const id = socket.id;
    const room = `csr-${client}-${mode}`;
    await call(socket, "join", room);
    await call(socket, "set-data", { n: 1 });
    const sender = await connected("/", {}, "/csr/");
    const early = once(socket, "early");
    sender.emit("in", room, "early", 0);
    await early; // the offset to come back with; an acknowledged event has none
    const missed = [];
    socket.on("missed", (i, binary) => missed.push([i, bytes(binary)]));
    const lost = once(socket, "disconnect");
    socket.emit("drop");
    await lost;
    for (let i = 0; i < 3; i++) sender.emit("in", room, "missed", i, Buffer.from([i]));
    await eventually(() => welcomes.length === 2);
    assert.equal(welcomes[1].recovered, recovers);
    if (!recovers) return assert.notEqual(socket.id, id);
    assert.deepEqual([socket.id, socket.recovered], [id, true]);
    assert.deepEqual(welcomes[1].rooms, [room, "self"]);
    assert.deepEqual(welcomes[1].data, { mw: 1, n: 1 });
    await eventually(() => missed.length === 3);
    assert.deepEqual(missed, [[0, [0]], [1, [1]], [2, [2]]]);
  },
};

// The server's timeouts are a second or two. A machine that stands still for
// longer breaks connections rightly, so a scenario that saw that is repeated.
let stood = 0;
let last = performance.now();
setInterval(() => {
  stood = Math.max(stood, performance.now() - last);
  last = performance.now();
}, 20).unref();

for (const [name, scenario] of Object.entries(scenarios)) {
  for (let attempt = 1; ; attempt++) {
    stood = 0;
    let failure;
    await scenario().catch((error) => (failure = error));
    for (const socket of sockets.splice(0)) {
      socket.io.reconnection(false);
      socket.disconnect();
      socket.io.engine?.close();
    }
    if (!failure) break;
    if (stood > 300 && attempt < 5) continue;
    console.error(`${client} over ${mode}: ${name}: ${failure.stack ?? failure}`);
    process.exitCode = 1;
    break;
  }
}
console.log(`${Object.keys(scenarios).length} scenarios`);
setTimeout(() => process.exit(), 200).unref();
