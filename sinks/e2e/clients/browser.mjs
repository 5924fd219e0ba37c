// Opens a page of the documentation in Chromium and follows it through a login: first image, new QR code, connection.
// usage: node browser.mjs <page> <events address> <key> <screenshot> <first image> <next image> <image prefix>
import { chromium } from "playwright-core";

const [page, events, key, screenshot, first, next, prefix] = process.argv.slice(2);

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const tab = await browser.newPage({ viewport: { width: 480, height: 360 } });
tab.on("console", (m) => console.log("page:", m.type(), m.text()));
tab.on("pageerror", (e) => console.log("page error:", e.message));

const shows = (text) => tab.getByText(text).waitFor({ timeout: 20_000 });
const image = (src) =>
  tab.waitForFunction((want) => document.querySelector("img").getAttribute("src") === want, src, { timeout: 20_000 });
const emit = async (event, data) => {
  const answer = await fetch(events, {
    method: "POST", headers: { apikey: key }, body: JSON.stringify({ event, data }),
  });
  if (answer.status !== 201) throw new Error(`POST: ${answer.status} ${await answer.text()}`);
};

try {
  await tab.goto(page);
  await shows("Scan the QRCode...");
  await image(first);
  await emit("qrcode.updated", { qrcode: { instance: "sales", pairingCode: null, code: "2@x", base64: next } });
  await shows("Waiting for connection...");
  await image(prefix + next);
  await tab.screenshot({ path: screenshot });
  await emit("connection.update", { instance: "sales", state: "open", statusReason: 200 });
  await shows("Successfully connected...");
  await shows("Scan the QRCode..."); // it reloads itself and connects again
} finally {
  await browser.close();
}
