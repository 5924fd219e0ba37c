// A client as Evolution API's users write it: a channel per instance, events by name. Only the host is not Pusher's.
const Pusher = require('pusher-js');

const [host, key, channel, event] = process.argv.slice(2);
const [wsHost, wsPort] = host.split(':');
const pusher = new Pusher(key, { cluster: 'eu', wsHost, wsPort: Number(wsPort), forceTLS: false, enabledTransports: ['ws'], enableStats: false });

const subscription = pusher.subscribe(channel);
subscription.bind('pusher:subscription_succeeded', () => console.log('subscribed'));
subscription.bind(event, (envelope) => {
  console.log(`${envelope.event} of ${envelope.instance}: ${JSON.stringify(envelope.data)}`);
});
process.stdin.on('end', () => { pusher.disconnect(); process.exit(0); }).resume();
