// Node's ws as a server that is measured; the commands are those of subject.hpp.
"use strict";
module.paths.push("/usr/share/nodejs"); // of Debian's package
const { WebSocketServer } = require("ws");

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (client) => {
    client.on("message", (data) => client.send(data, { binary: true }));
    client.on("error", () => {});
});

let input = "", arrived = 0, wake = () => {};
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const clock = () => process.hrtime.bigint();
let number = 0n;

async function send(isPaced, count, rate, size) {
    const rest = Buffer.from(Array.from({ length: size }, (_, i) => 97 + (i % 26)));
    let spent = 0n;
    arrived = 0;
    const began = clock();
    const dot = () => new Promise((resolve) => (wake = resolve));
    for (let i = 0; i < count; ++i) {
        if (isPaced) {
            while (clock() < began + BigInt(Math.round((1e9 / rate) * i))) await pause(1);
        } else {
            while (i - arrived >= rate) await dot();
        }
        const before = clock();
        const payload = Buffer.from(rest);
        payload.writeBigUInt64LE(before, 0);
        payload.writeBigUInt64LE(++number, 8);
        for (const client of server.clients) client.send(payload);
        spent += clock() - before;
    }
    while (!isPaced && arrived < count) await dot();
    return spent / BigInt(count);
}

let busy = Promise.resolve();
async function command(line) {
    const [name, ...numbers] = line.split(" ");
    const [first, second, third] = numbers.map(Number);
    if (name === "wait") {
        while (server.clients.size < first) await pause(1);
        console.log("ready");
    } else if (name !== "echo") {
        console.log(`done ${await send(name === "paced", first, second, third)}`);
    }
}

process.stdin.on("data", (bytes) => {
    for (const letter of bytes.toString()) {
        if (letter === ".") {
            ++arrived;
        } else if (letter !== "\n") {
            input += letter;
        } else {
            const line = input;
            input = "";
            busy = busy.then(() => command(line));
        }
    }
    wake();
});
process.stdin.on("end", () => process.exit(0));
