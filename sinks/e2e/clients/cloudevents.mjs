// Reads one request per line from standard input, {"headers":{...},"body":"..."}, and prints what the CloudEvents SDK makes of it: the
// event's source, or why it is refused.
import { createInterface } from "node:readline";
import { HTTP } from "cloudevents";

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const event = HTTP.toEvent(JSON.parse(line));
    event.validate();
    console.log("source", event.source);
  } catch (e) {
    console.log("refused", String(e.message).replaceAll("\n", " "), JSON.stringify(e.errors ?? null));
  }
}
