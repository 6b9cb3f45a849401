// The same as dialogue.py. Arguments: HOST PORT connected|unconnected
const dgram = require('dgram');
const readline = require('readline');

const [host, port, kind] = process.argv.slice(2);
const socket = dgram.createSocket('udp6');

socket.on('error', (error) => { throw error; });
socket.on('message', (text, rinfo) => {
  console.log(`${rinfo.address} ${text}`);
  if (kind === 'connected' && socket.remoteAddress().address !== rinfo.address) {
    throw new Error(`remoteAddress() is ${socket.remoteAddress().address}`);
  }
});
const start = () => {
  // Not before: lines that come while nobody listens are lost.
  const lines = readline.createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (kind === 'connected') socket.send(line);
    else socket.send(line, Number(port), host);
  });
  lines.on('close', () => socket.close());
};
if (kind === 'connected') socket.connect(Number(port), host, start);
else socket.bind(0, start);
