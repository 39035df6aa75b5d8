// A JSON-RPC endpoint before a real one: `node flaky-endpoint.mjs URL` prints its own URL, then forwards. SIGUSR1: calls are taken
// and never answered. SIGUSR2: connections are closed at once. SIGHUP: it forwards again.
import { createServer, request } from 'node:http';

const upstream = new URL(process.argv[2]);
let mode = 'forward';
const held = new Set();
const server = createServer((incoming, outgoing) => {
  if (mode === 'close') return incoming.socket.destroy();
  if (mode === 'hang') {
    held.add(incoming.socket);
    incoming.socket.once('close', () => held.delete(incoming.socket));
    return incoming.resume();
  }
  const headers = { ...incoming.headers, host: upstream.host };
  const forwarded = request(upstream, { method: incoming.method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  forwarded.on('error', () => incoming.socket.destroy());
  incoming.pipe(forwarded);
});
const change = (next) => () => {
  mode = next;
  for (const socket of held) socket.destroy();
};
process.on('SIGUSR1', change('hang'));
process.on('SIGUSR2', change('close'));
process.on('SIGHUP', change('forward'));
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
