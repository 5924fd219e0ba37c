// Connects from pages in Chromium, one after the other, and prints how each went as JSON: {"connected":true} or {"error":"..."}.
// usage: node page.mjs <rules by which names are resolved> <JSON: [{page, library, address, options}]>
// library is the client's file, address that of a namespace.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [rules, visits] = process.argv.slice(2);

// connect runs in the page.
const connect = ({ address, options }) => new Promise((resolve) => {
  const socket = io(address, { ...options, reconnection: false });
  socket.on("connect", () => resolve({ connected: true }));
  for (const name of ["connect_error", "error"]) {
    socket.on(name, (e) => resolve({ error: String(e.message ?? e) }));
  }
});

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium", args: ["--no-sandbox", `--host-resolver-rules=${rules}`],
});
try {
  const outcomes = [];
  for (const { page, library, ...where } of JSON.parse(visits)) {
    const tab = await browser.newPage();
    await tab.goto(page);
    await tab.addScriptTag({ content: readFileSync(library, "utf8") });
    outcomes.push(await tab.evaluate(connect, where));
    await tab.close();
  }
  console.log(JSON.stringify(outcomes));
} finally {
  await browser.close();
}
