// Node's socket.io, with its defaults. The surface is that of package control.
import { createServer } from "node:http";
import { Server } from "socket.io";

const mark = "~";
let clients = 0;

const http = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const answer = { "/emit": emit, "/stats": stats }[url.pathname];
  if (!answer) return response.writeHead(404).end();
  answer(url.searchParams).then((body) => response.end(body));
});
const io = new Server(http);
const join = (socket) => {
  clients++;
  socket.on("disconnect", () => clients--);
};
io.on("connection", join);
io.of(/^\/n\d{4}$/).on("connection", join);

// emit does what Server.emit of package control does.
async function emit(query) {
  const [events, size, burst, spaces, every] = ["events", "size", "burst", "spaces", "every"].map((key) => Number(query.get(key)));
  const event = template(size);
  const start = performance.now();
  return new Promise((done) => {
    let i = 0;
    const step = () => {
      for (; i < events; i++) {
        const wait = start + Math.floor(i / burst) * every - performance.now();
        if (wait > 0) return setTimeout(step, wait);
        event.at = stamp() + mark;
        io.of(spaces ? "/n" + String(i % spaces).padStart(4, "0") : "/").emit("messages.upsert", event);
      }
      done("");
    };
    step();
  });
}

function template(size) {
  const event = { event: "messages.upsert", data: { text: "" }, at: "0".repeat(19) + mark };
  const words = Math.max(0, size - JSON.stringify(event).length);
  event.data.text = "lorem ipsum ".repeat(words / 12 + 1).slice(0, words);
  return event;
}

// stamp is the time now in nanoseconds, to the microsecond.
function stamp() {
  return Math.round((performance.timeOrigin + performance.now()) * 1000) + "000";
}

async function stats(query) {
  if (query.get("collect")) globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  return JSON.stringify({ CPU: (user + system) * 1000, Clients: clients });
}

http.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${http.address().port}`));
process.stdin.resume().on("end", () => process.exit());
