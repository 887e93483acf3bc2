import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { Guest, HEADER_BYTES, OP, compileAll, type Packet } from "./guest.ts";

const PORT = 5000;
const HEARTBEAT_PORT = 9000;
const ROOM_BYTES = 262_144;
const STREAMS_MAX = 128;
const FAREWELL = { takesNoMore: 1, sendsNoMore: 2, both: 3 };

const absent = spawnSync("gcc", ["--version"]).status !== 0;
if (absent) console.warn("vsock backend: skipped, there is no gcc here");

let folder = "";
let guest: Guest;
const opened: (Socket | Server)[] = [];

beforeAll(() => {
  if (!absent) compileAll();
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "symphony-vsock-"));
});

afterEach(async () => {
  for (const end of opened.splice(0))
    if ("destroy" in end) end.destroy();
    else end.close();
  if (!absent) await guest.end();
  rmSync(folder, { recursive: true, force: true });
});

/** A connection of the host, not yet answered by the guest. */
function dial(): Socket {
  const socket = connect({ path: join(folder, `vm_${PORT}`), allowHalfOpen: true });
  socket.on("error", () => socket.destroy());
  opened.push(socket);
  return socket;
}

/** A stream that the host asked for and the guest accepted, and how the guest sends in it. */
async function openStream(room = 65_536): Promise<{ host: Socket; say: Say }> {
  const host = dial();
  const request = await guest.receive();
  expect(request).toMatchObject({ operation: OP.request, hostCid: 3n, guestPort: PORT });
  const { hostPort } = request;
  const say: Say = (packet, cuts) =>
    guest.send({ hostPort, guestPort: PORT, room, ...packet }, cuts);
  say({ operation: OP.response });
  return { host, say };
}

type Say = (packet: Partial<Packet>, cuts?: readonly number[]) => void;

/** The next bytes that come, as many as these, and what came with the last of them. */
function bytesOf(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve) => {
    let all = Buffer.alloc(0);
    const take = (chunk: Buffer): void => {
      all = Buffer.concat([all, chunk]);
      if (all.length < length) return;
      socket.pause().off("data", take);
      resolve(all);
    };
    socket.on("data", take).resume();
  });
}

test.skipIf(absent)("carries bytes both ways, and each end's farewell", async () => {
  guest = await Guest.start(folder, [PORT]);
  const { host, say } = await openStream();
  host.write("from the host");
  expect(await guest.receive()).toMatchObject({
    operation: OP.data,
    data: Buffer.from("from the host"),
  });
  say({ operation: OP.data, data: Buffer.from("from the guest") }, [10, HEADER_BYTES, 50]);
  expect(String(await bytesOf(host, 14))).toBe("from the guest");
  host.end();
  expect(await guest.receive()).toMatchObject({
    operation: OP.shutdown,
    flags: FAREWELL.sendsNoMore,
  });
  say({ operation: OP.data, data: Buffer.from("and more") });
  expect(String(await bytesOf(host, 8))).toBe("and more");
  const ended = once(host.resume(), "end");
  say({ operation: OP.shutdown, flags: FAREWELL.both });
  expect(await guest.receive()).toMatchObject({ operation: OP.reset, taken: 22 });
  await ended;
});

test.skipIf(absent)("connects the guest to who listens for a port, whatever the CID", async () => {
  guest = await Guest.start(folder, [PORT]);
  const server = createServer().listen(join(folder, `vm_${HEARTBEAT_PORT}`));
  opened.push(server);
  await once(server, "listening");
  for (const hostCid of [2n, 3n, 77n]) {
    const stream = { hostCid, guestPort: 1024, hostPort: HEARTBEAT_PORT };
    const accepted = once(server, "connection");
    guest.send({ ...stream, operation: OP.request });
    expect(await guest.receive()).toMatchObject({ ...stream, operation: OP.response });
    const [socket] = await accepted;
    opened.push(socket);
    guest.send({ ...stream, operation: OP.data, data: Buffer.of(0xb7) });
    expect(await bytesOf(socket, 1)).toEqual(Buffer.of(0xb7));
    socket.write(Buffer.of(0xb7));
    expect(await guest.receive()).toMatchObject({ ...stream, data: Buffer.of(0xb7) });
  }
});

test.skipIf(absent).for([
  { title: "nobody listens for", packet: { hostPort: 9001, operation: OP.request } },
  { title: "leads back to the guest", packet: { hostPort: PORT, operation: OP.request } },
  { title: "is no stream's", packet: { hostPort: HEARTBEAT_PORT, operation: OP.request, type: 2 } },
  { title: "was never asked for", packet: { hostPort: 70_000, operation: OP.data, length: 0 } },
])("refuses the guest what $title", async ({ packet }) => {
  guest = await Guest.start(folder, [PORT]);
  guest.send({ guestPort: 1024, ...packet });
  expect(await guest.receive()).toMatchObject({ operation: OP.reset, guestPort: 1024 });
});

test.skipIf(absent)("sends the guest no more than it has room for", async () => {
  guest = await Guest.start(folder, [PORT]);
  const { host, say } = await openStream(5);
  host.write("123456789");
  expect(await guest.receive()).toMatchObject({ data: Buffer.from("12345") });
  say({ operation: OP.credit, room: 5, taken: 3 });
  expect(await guest.receive()).toMatchObject({ data: Buffer.from("678") });
  // More taken than was ever sent, and no room at all: nothing is sent, nothing overflows.
  say({ operation: OP.credit, room: 0, taken: 4_000_000_000 });
  say({ operation: OP.credit, room: 5, taken: 8 });
  expect(await guest.receive()).toMatchObject({ data: Buffer.from("9") });
});

test.skipIf(absent)("tells the guest of room, and hangs up when it is overrun", async () => {
  guest = await Guest.start(folder, [PORT]);
  const { host, say } = await openStream();
  const data = Buffer.alloc(16_000, 7);
  for (let sent = 0; sent < ROOM_BYTES; sent += data.length) {
    say({ operation: OP.data, data });
    await bytesOf(host, data.length);
  }
  // Far more than this room and the socket's: some of it cannot be kept, and the stream ends.
  for (let packet = 0; packet < 64; packet++) {
    say({ operation: OP.data, data });
    await guest.taken();
  }
  expect(await guest.receive()).toMatchObject({ operation: OP.credit, room: ROOM_BYTES });
  let answer = await guest.receive();
  while (answer.operation === OP.credit) answer = await guest.receive();
  expect(answer).toMatchObject({ operation: OP.reset });
});

test.skipIf(absent)("brings the host what a guest sent before it went", async () => {
  guest = await Guest.start(folder, [PORT]);
  const { host, say } = await openStream();
  const data = Buffer.alloc(16_000, 7);
  const packets = 16;
  for (let packet = 0; packet < packets; packet++) {
    say({ operation: OP.data, data });
    await guest.taken();
  }
  say({ operation: OP.shutdown, flags: FAREWELL.both });
  say({ operation: OP.reset });
  await guest.taken();
  const ended = once(host, "end");
  expect(await bytesOf(host, packets * data.length)).toHaveLength(packets * data.length);
  host.resume();
  await ended;
});

test.skipIf(absent)("lets there be so many streams; the next connections wait", async () => {
  guest = await Guest.start(folder, [PORT]);
  const hosts = Array.from({ length: STREAMS_MAX + 20 }, dial);
  const requests: Packet[] = [];
  while (requests.length < STREAMS_MAX) requests.push(await guest.receive());
  expect(new Set(requests.map(({ hostPort }) => hostPort)).size).toBe(STREAMS_MAX);
  guest.send({ guestPort: 1024, hostPort: 9001, operation: OP.request });
  expect(await guest.receive()).toMatchObject({ operation: OP.reset, hostPort: 9001 });
  const [first] = requests;
  guest.send({ guestPort: PORT, hostPort: first?.hostPort ?? 0, operation: OP.reset });
  expect(await guest.receive()).toMatchObject({ operation: OP.request });
  // A host that hangs up before it was answered: the guest hears of it, and the next one has the place.
  for (const host of hosts.slice(0, STREAMS_MAX)) host.destroy();
  expect(await guest.receive()).toMatchObject({ operation: OP.reset });
});

test.skipIf(absent)("tells the guest of a host that has gone", async () => {
  guest = await Guest.start(folder, [PORT]);
  const { host, say } = await openStream();
  await guest.taken();
  host.write("last words", () => host.destroy());
  expect(await guest.receive()).toMatchObject({ data: Buffer.from("last words") });
  const farewell = await guest.receive();
  expect(farewell.operation).toBe(OP.shutdown);
  if (farewell.flags !== FAREWELL.both)
    expect(await guest.receive()).toMatchObject({ flags: FAREWELL.both });
  say({ operation: OP.data, data: Buffer.from("too late") });
  expect(await guest.receive()).toMatchObject({ operation: OP.reset });
});
