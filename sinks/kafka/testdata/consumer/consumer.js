// A consumer as Evolution API's users write it: kafkajs, a topic per event, JSON values.
const { Kafka, logLevel } = require('kafkajs');

const [brokers, topic, count] = process.argv.slice(2);
const kafka = new Kafka({ clientId: 'my-app', brokers: brokers.split(','), logLevel: logLevel.ERROR });
const consumer = kafka.consumer({ groupId: 'my-group' });

async function main() {
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let left = Number(count);
  await consumer.run({
    eachMessage: async ({ message }) => {
      const { event, instance, data } = JSON.parse(message.value.toString());
      console.log(JSON.stringify({ event, instance, data, key: message.key.toString(), header: message.headers.event.toString() }));
      if (--left === 0) setImmediate(() => consumer.disconnect());
    },
  });
}

main().catch((err) => { console.error(err); process.exit(1); });
