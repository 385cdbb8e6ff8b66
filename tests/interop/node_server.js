// npm's ws as a server. Prints its port; echoes, and obeys the words that python_server.py obeys too, and some more.
'use strict';
const { WebSocketServer } = require('ws');

let lastClose = 0;
const isCompressed = process.argv.includes('compressed');
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 64 << 20,
  perMessageDeflate: isCompressed ? { threshold: 0 } : false,
  handleProtocols: (offered) => ['v2', 'v3'].find((name) => offered.has(name)) || false,
});

const commands = {
  fragments(ws) {
    ws.send('one ', { fin: false });
    ws.send('zwei ü ', { fin: false });
    ws.send('', { fin: false });
    ws.send('three', { fin: true });
    ws.send(Buffer.from([0]), { binary: true, fin: false });
    ws.send(Buffer.alloc(0), { binary: true, fin: false });
    ws.send(Buffer.from([255]), { binary: true, fin: true });
  },
  ping(ws) {
    ws.once('pong', (data) => ws.send(String(data) === 'are you there?' ? 'you answered' : 'you answered wrongly'));
    ws.ping('are you there?');
  },
  close(ws, code, ...reason) { ws.close(Number(code), reason.join(' ')); },
  drop(ws) { ws.terminate(); },
  extensions(ws) { ws.send(ws.extensions); },
  'last-close'(ws) { ws.send(String(lastClose)); },
  traffic(ws) { ws.send(`${ws._socket.bytesRead} ${ws._socket.bytesWritten}`); },
};

server.on('connection', (ws) => {
  ws.on('message', (data, isBinary) => {
    const [command, ...rest] = !isBinary && data.length < 100 ? String(data).split(' ') : [''];
    if (Object.hasOwn(commands, command)) commands[command](ws, ...rest);
    else ws.send(data, { binary: isBinary });
  });
  ws.on('close', (code) => { lastClose = code; });
  ws.on('error', () => {});
});
server.on('listening', () => console.log(server.address().port));
const parent = process.ppid;
setInterval(() => { if (process.ppid !== parent) process.exit(0); }, 200); // ends with the test that started it
