// Acknowledges everything: what the host and the pipe cost with Node.
const out = (m) => process.stdout.write(JSON.stringify(m) + '\n');
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const m = JSON.parse(line);
  if (m.type === 'event') out({ type: 'ack', id: m.id });
  else if (m.type === 'init') out({ type: 'ready', protocol: 1, max_in_flight: 64 });
  else if (m.type === 'ping') out({ type: 'pong' });
  else if (m.type === 'drain') out({ type: 'drained' });
});
