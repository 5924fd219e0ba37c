// A subscriber as Evolution API's users write it. It prints a line when it is ready, and one for each event.
//
//   node consumer.js <server> <subject>...
import { connect, JSONCodec } from "nats";

const [servers, ...subjects] = process.argv.slice(2);
const connection = await connect({ servers });
const codec = JSONCodec();
for (const subject of subjects) {
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error) throw error;
      const { event, instance, data } = codec.decode(message.data);
      console.log(JSON.stringify({ subject: message.subject, event, instance, data }));
    },
  });
}
await connection.flush();
console.log("ready");
process.stdin.on("end", () => connection.close()).resume();
