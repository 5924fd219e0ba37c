// Sends commands from Node or from a page in Chromium, with and without acknowledgement, and prints what comes back as JSON.
// usage: node command.mjs <node|browser> <address of a namespace> <key>
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [where, address, key] = process.argv.slice(2);

// talk runs in Node and in the page alike.
async function talk(io, address, key) {
  const socket = io(address, { transports: ["websocket"], auth: { apikey: key } });
  const out = {};
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    socket.on("connect_error", reject);
  });
  out.done = await socket.timeout(30000).emitWithAck("send.message", { number: "5511", text: "Hello, World!" });
  out.invalid = await socket.timeout(30000).emitWithAck("send.message", { message: "Hello, World!" });
  out.unknown = await socket.timeout(30000).emitWithAck("no.such", {});
  const failed = new Promise((resolve) => {
    const late = setTimeout(() => resolve({ ok: false, error: { code: "no command.error within 30 s" } }), 30000);
    socket.once("command.error", (answer) => {
      clearTimeout(late);
      resolve(answer);
    });
  });
  socket.emit("no.such", {});
  out.unacknowledged = await failed;
  const flood = Array.from({ length: 60 }, () => socket.timeout(30000).emitWithAck("no.such", {}));
  out.fast = (await Promise.all(flood)).at(-1);
  await new Promise((resolve) => setTimeout(resolve, 1100)); // the rate recovers
  out.large = await socket.timeout(30000).emitWithAck("send.message", { text: "x".repeat(300000) });
  socket.disconnect();
  return out;
}

if (where === "node") {
  const { io } = createRequire(import.meta.url)("socket.io-client");
  console.log(JSON.stringify(await talk(io, address, key)));
} else {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    const tab = await browser.newPage();
    await tab.addScriptTag({ content: readFileSync("node_modules/socket.io-client/dist/socket.io.min.js", "utf8") });
    console.log(JSON.stringify(await tab.evaluate(`(${talk})(io, ${JSON.stringify(address)}, ${JSON.stringify(key)})`)));
  } finally {
    await browser.close();
  }
}
