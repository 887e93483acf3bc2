import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { FrameReader, encodeFrame } from "../../../protocol/index.ts";
import { buildGate, canBuildGate, firstWords, spawnGate } from "../../helpers/gate.ts";

const absent = !canBuildGate;

/** Fewer than in the image, so that few have to be started. */
const SESSIONS = 3;

let directory = "";
let gate: ChildProcess;
let device: Server;
/** Enclaves of the tests say here that they live, by staying connected. */
let lives: Server;
const living = new Set<Socket>();

/** Stands for the enclave: says what it was given, asks the NSM, ends, or says back what it hears. */
const ENCLAVE = (life: string): string => `
import { fstatSync, readlinkSync } from "node:fs";
import { Socket, connect } from "node:net";
const [channel, nsm] = [3, 4].map((fd) => new Socket({ fd, readable: true, writable: true, allowHalfOpen: true }));
let deaf = false;
connect(${JSON.stringify(life)}).on("error", () => process.exit(1));
channel.on("end", () => deaf || process.exit(1));
channel.on("data", (data) => {
  switch (String(data)) {
    case "state\\n":
      return channel.write(JSON.stringify({ pid: process.pid, env: process.env, argv: process.argv.slice(2), out: [0, 1, 2].map((fd) => readlinkSync("/proc/self/fd/" + fd)), kinds: [3, 4].map((fd) => fstatSync(fd).isSocket()) }) + "\\n");
    case "nsm\\n":
      nsm.once("data", (answer) => channel.write(answer.toString("hex") + "\\n"));
      return nsm.write(Buffer.from("00000001aa", "hex"));
    case "deaf\\n":
      deaf = true;
      return channel.write(data);
    case "end\\n":
      return channel.end("bye\\n", () => process.exit(0));
    default:
      return channel.write(data);
  }
});
`;

beforeAll(async () => {
  if (absent) return;
  directory = mkdtempSync(join(tmpdir(), "symphony-gate-"));
  writeFileSync(script(), ENCLAVE(join(directory, "life.sock")));
  const command = [process.execPath, script()];
  buildGate(directory, { command, cwd: directory, sessionsMax: SESSIONS });
  device = createServer((socket) => {
    const reader = new FrameReader();
    socket.on("data", (chunk) => {
      for (const request of reader.push(chunk))
        socket.write(encodeFrame(Uint8Array.of(0xbb, ...request)));
    });
  }).listen(join(directory, "device.sock"));
  lives = createServer((socket) => {
    living.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => living.delete(socket));
    socket.resume();
  }).listen(join(directory, "life.sock"));
  await once(lives, "listening");
  gate = spawnGate(directory);
  expect(await firstWords(gate)).toBe("ready\n");
});

afterAll(() => {
  if (absent) return;
  gate.kill("SIGKILL");
  for (const socket of living) socket.destroy();
  device.close();
  lives.close();
  rmSync(directory, { recursive: true, force: true });
});

/** On its own it ends at once: it has no channel. */
function script(): string {
  return join(directory, "enclave.mjs");
}

/** A connection of the host, and the lines that come from its enclave. */
async function dial(): Promise<{ socket: Socket; line: (word: string) => Promise<string> }> {
  const socket = connect(join(directory, "vsock.sock"));
  socket.on("error", () => socket.destroy());
  await once(socket, "connect");
  const line = async (word: string): Promise<string> => {
    socket.write(`${word}\n`);
    let text = "";
    while (!text.endsWith("\n")) text += String((await once(socket, "data"))[0]);
    return text.trimEnd();
  };
  return { socket, line };
}

/** Until no enclave lives any more. */
async function allGone(): Promise<void> {
  for (const socket of living) await once(socket, "close");
}

test.skipIf(absent)(
  "[RT-1] an enclave gets channel, NSM and nothing else, and its end is the connection's",
  async () => {
    const { socket, line } = await dial();
    expect(JSON.parse(await line("state"))).toEqual({
      pid: expect.any(Number),
      env: { ORT_DISABLE_TELEMETRY: "1" },
      argv: [],
      out: ["/dev/null", "/dev/null", "/dev/null"],
      kinds: [true, true],
    });
    expect(await line("nsm")).toBe("00000002bbaa");
    const ended = once(socket, "end");
    expect(await line("end")).toBe("bye");
    await ended;
    socket.destroy();
    await allGone();
  },
);

test.skipIf(absent)("each connection has an enclave of its own, which ends with it", async () => {
  const [one, two] = [await dial(), await dial()];
  const [first, second] = [await one.line("state"), await two.line("state")].map((text) =>
    JSON.parse(text),
  );
  expect(first.pid).not.toBe(second.pid);
  one.socket.destroy();
  two.socket.destroy();
  await allGone();
  expect(living.size).toBe(0);
});

test.skipIf(absent)("an enclave that does not see its host go is ended all the same", async () => {
  const { socket, line } = await dial();
  expect(await line("deaf")).toBe("deaf");
  socket.destroy();
  await allGone();
  expect(living.size).toBe(0);
});

test.skipIf(absent)("copies any number of bytes both ways, to a host that is slow", async () => {
  const { socket } = await dial();
  const sent = Buffer.alloc(3_000_000, "0123456789abcdef-");
  let heard = 0;
  socket.write(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    heard += chunk.length;
    if (heard >= sent.length) break;
  }
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  socket.destroy();
  await allGone();
});

test.skipIf(absent)(
  "[RT-1] so many at a time, and no more; the next waits until one ends",
  async () => {
    const open = [];
    for (let count = 0; count < SESSIONS; count++) open.push(await dial());
    await Promise.all(open.map(({ line }) => line("state")));
    const late = await dial();
    const order: string[] = [];
    const answered = late.line("state").then(() => order.push("late"));
    // As long as two programs take to start: one that did not wait would have answered by then.
    for (let run = 0; run < 2; run++) await once(spawn(process.execPath, [script()]), "exit");
    await open[SESSIONS - 1]?.line("state");
    order.push("early");
    open[0]?.socket.destroy();
    await answered;
    expect(order).toEqual(["early", "late"]);
    for (const { socket } of [...open, late]) socket.destroy();
    await allGone();
  },
);

test.skipIf(absent)("does not start without the NSM, or where the port is taken", async () => {
  const without = spawnGate(directory, { NSM_SHIM_SOCKET: join(directory, "none.sock") });
  expect(await firstWords(without)).toContain("gate: /dev/nsm");
  const taken = spawnGate(directory);
  expect(await firstWords(taken)).toContain("gate: vsock");
});
