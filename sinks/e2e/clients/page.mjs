// Opens a page in Chromium, connects from it, and prints how that went as JSON: {"connected":true} or {"error":"..."}.
// usage: node page.mjs <page> <file of the client> <address of a namespace> <options, JSON> <rules by which names are resolved>
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [page, library, address, options, rules] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium", args: ["--no-sandbox", `--host-resolver-rules=${rules}`],
});
try {
  const tab = await browser.newPage();
  await tab.goto(page);
  await tab.addScriptTag({ content: readFileSync(library, "utf8") });
  const outcome = await tab.evaluate(([address, options]) => new Promise((resolve) => {
    const socket = io(address, { ...options, reconnection: false });
    socket.on("connect", () => resolve({ connected: true }));
    for (const name of ["connect_error", "error"]) {
      socket.on(name, (e) => resolve({ error: String(e.message ?? e) }));
    }
  }), [address, JSON.parse(options)]);
  console.log(JSON.stringify(outcome));
} finally {
  await browser.close();
}
