// node's ws as a client of our server: URL [compressed]. Says "done" where all is as it should be.
'use strict';
const assert = require('assert');
const WebSocket = require('ws');

const [url, compressed] = process.argv.slice(2);
const texts = ['short', '\u00e4\u20ac\u{1f600}', 'x'.repeat(126), 'y'.repeat(65536), '{"price": 1}'.repeat(20000)];
const ws = new WebSocket(url, ['v1', 'v2'], {perMessageDeflate: compressed !== undefined});
const heard = [];
ws.on('open', () => {
    assert.strictEqual(ws.protocol, 'v2');
    assert.strictEqual(ws.extensions.includes('permessage-deflate'), compressed !== undefined);
    for (const text of texts) {
        ws.send(text);
        ws.send(Buffer.from(text));
        ws.send('to all: ' + text);
    }
    ws.send('in ', {fin: false});
    ws.send('fragments', {fin: true});
    ws.ping('are you there?');
});
ws.on('pong', (data) => {
    assert.strictEqual(data.toString(), 'are you there?');
    ws.send('close');
});
ws.on('message', (data) => heard.push(data.toString()));
ws.on('close', (code, reason) => {
    assert.deepStrictEqual(heard, texts.flatMap((text) => [text, text, text]).concat(['in fragments']));
    assert.strictEqual(code, 4001);
    assert.strictEqual(reason.toString(), 'as you wish');
    console.log('done');
});
ws.on('error', (error) => { console.error(error); process.exit(1); });
