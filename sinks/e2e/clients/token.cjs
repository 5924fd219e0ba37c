// Listens to an instance with its token and prints a line for everything that happens, errors included.
// usage: node token.cjs <folder of the client> <address of the server> <namespace> <token>
const [library, address, namespace, token] = process.argv.slice(2);
const io = require(library);

const socket = io(address + namespace, { query: { apikey: token }, transports: ["websocket"] });
for (const name of ["connect", "error", "connect_error", "disconnect"]) {
  socket.on(name, (e) => console.log(name, e?.message ?? e ?? ""));
}
socket.on("messages.upsert", (e) => console.log("event", JSON.stringify(e.data)));
const root = socket.io.socket("/"); // which version 2 joins anyway, and others only if asked
root.on("connect", () => console.log("root connect"));
for (const name of ["messages.upsert", "call", "application.startup"]) {
  root.on(name, () => console.log("root event", name));
}
root.connect();
