// A consumer as Evolution API's users write it: it declares what the API declares, and reads the queues of an instance or the
// global ones. It prints a line when it is ready, and one for each event.
//
//   node consumer.js <uri> <exchange> <queue prefix> <event>...
import amqp from "amqplib";

const [uri, exchange, prefix, ...events] = process.argv.slice(2);
const connection = await amqp.connect(uri);
const channel = await connection.createChannel();
await channel.assertExchange(exchange, "topic", { durable: true, autoDelete: false });
for (const event of events) {
  const queue = `${prefix}.${event}`;
  await channel.assertQueue(queue, { durable: true, autoDelete: false, arguments: { "x-queue-type": "quorum" } });
  await channel.bindQueue(queue, exchange, event);
}
console.log("ready");
for (const event of events) {
  const queue = `${prefix}.${event}`;
  await channel.consume(queue, (message) => {
    const { event, instance, data } = JSON.parse(message.content.toString());
    console.log(JSON.stringify({ queue, key: message.fields.routingKey, event, instance, data }));
    channel.ack(message);
  });
}
process.stdin.on("end", () => connection.close()).resume();
