#!/usr/bin/env node
// Appends every event to a file, as a line of JSON, and starts a new one when it is full: events.ndjson, events.ndjson.1, ...
const fs = require('fs');
const config = { max_bytes: 10e6, keep: 5 };
const say = (message) => process.stdout.write(JSON.stringify(message) + '\n');

function rotate() {
  for (let i = config.keep; i > 0; i--) {
    const from = i > 1 ? `${config.path}.${i - 1}` : config.path;
    if (fs.existsSync(from)) fs.renameSync(from, `${config.path}.${i}`);
  }
}

function append({ event_id, event, instance, date_time, data }) {
  const line = JSON.stringify({ id: event_id, event, instance, date_time, data }) + '\n';
  const size = fs.existsSync(config.path) ? fs.statSync(config.path).size : 0;
  if (size > 0 && size + Buffer.byteLength(line) > config.max_bytes) rotate();
  fs.appendFileSync(config.path, line);
}

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const m = JSON.parse(line);
  if (m.type === 'init') {
    Object.assign(config, m.config);
    say({ type: 'ready', protocol: 1, max_in_flight: 64 });
  } else if (m.type === 'event') {
    try {
      append(m);
      say({ type: 'ack', id: m.id });
    } catch (e) { // a full disk, a folder that is not there: the event is not the reason
      say({ type: 'nack', id: m.id, error: String(e), unavailable: true });
    }
  } else if (m.type === 'ping') say({ type: 'pong' });
  else if (m.type === 'drain') say({ type: 'drained' });
});
