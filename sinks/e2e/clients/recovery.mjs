// A client that loses its connection twice: first for a moment, when recovery gives it what it missed, then over a restart of evosink,
// when it asks for what came after the last event it saw. Commands come on standard input, a word per line; it prints what happens as JSON lines.
// usage: node recovery.mjs <address of a namespace> <key>
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { io } = createRequire(import.meta.url)("socket.io-client");
const [address, key] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
let last;

const auth = (cb) => cb({ apikey: key, ...(last && { since: last }) });
const socket = io(address, { transports: ["websocket"], auth, reconnectionDelay: 500, reconnectionDelayMax: 600 });
socket.on("connect", () => say({ connected: true, recovered: socket.recovered === true }));
socket.on("disconnect", (reason) => say({ disconnected: reason }));
socket.onAny((event, envelope) => {
  if (event === "replay.expired") return say({ expired: true });
  last = envelope.id;
  say({ n: envelope.data.n });
});

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "cut") socket.io.engine.close();
  if (line === "end") break;
}
socket.disconnect();
process.exit(0);
