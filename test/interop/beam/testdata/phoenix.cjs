// Clients of channels by phoenix.js itself: node --experimental-websocket phoenix.cjs FILE URL CLIENTS [MILLISECONDS]
// They say one number after the other, until standard input ends. Each line says what happened.
globalThis.window = globalThis;
const [file, url, clients, pause] = process.argv.slice(2);
const { Socket } = require(file);
const say = (what) => process.stdout.write(what + "\n");
const options = pause ? { rejoinAfterMs: (n) => [Number(pause), 500, 2000][n - 1] || 5000 } : {};
let over = false;
let left = Number(clients);
process.stdin.on("end", () => (over = true)).resume();
for (let i = 0; i < clients; i++) {
  const socket = new Socket(url, options);
  socket.onOpen(() => say("open"));
  socket.onClose((e) => say("close " + e.code));
  socket.connect();
  const channel = socket.channel("room:" + i, {});
  channel.onError((reason) => say("error " + reason.reason));
  channel.join().receive("ok", () => say("join")).receive("error", () => say("refused"));
  let n = 0;
  const next = () => {
    if (over) return --left === 0 && process.exit();
    const asked = ++n;
    channel.push("say", { n: asked })
      .receive("ok", (answer) => { say(answer.n === asked ? "answer" : "wrong"); setTimeout(next, 20); })
      .receive("error", () => say("not answered"))
      .receive("timeout", () => say("timeout"));
  };
  next();
}
