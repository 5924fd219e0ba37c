// Starts the emulator on a free port, prints its address, and ends with its standard input.
import { buildApp } from 'fauxqs';

const app = buildApp({ logger: false });
console.log(await app.listen({ port: 0, host: '127.0.0.1' }));
process.stdin.on('end', async () => { await app.close(); process.exit(0); }).resume();
