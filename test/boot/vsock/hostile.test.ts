import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import {
  CONTINUED,
  ENTRIES,
  FOR_DEVICE_TO_WRITE,
  GUEST_BASE,
  Guest,
  HEADER_BYTES,
  INDIRECT,
  MEMORY_BYTES,
  MESSAGE,
  OP,
  compileAll,
  encodePacket,
  memoryTable,
  words,
} from "./guest.ts";

const PORT = 5000;
const absent = spawnSync("gcc", ["--version"]).status !== 0;
if (absent) console.warn("vsock backend: skipped, there is no gcc here");

let folder = "";
let guest: Guest;

beforeAll(() => {
  if (!absent) compileAll();
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "symphony-vsock-"));
});

afterEach(async () => {
  if (!absent) await guest.end();
  rmSync(folder, { recursive: true, force: true });
});

const TX = 1;
const whole = { at: GUEST_BASE + 0x8000n, length: HEADER_BYTES, flags: 0, next: 0 };

test.skipIf(absent).for<{ title: string; damage: object }>([
  { title: "an address before its memory", damage: { at: GUEST_BASE - 1n } },
  { title: "an address after its memory", damage: { at: GUEST_BASE + BigInt(MEMORY_BYTES) + 1n } },
  { title: "a part that is longer than its memory", damage: { length: MEMORY_BYTES } },
  { title: "a part beyond the last address", damage: { at: 0xffff_ffff_ffff_fff0n } },
  { title: "a part that it should write", damage: { flags: FOR_DEVICE_TO_WRITE } },
  { title: "a table of parts, never agreed on", damage: { flags: INDIRECT } },
  { title: "a chain that never ends", damage: { flags: CONTINUED, next: 0 } },
  { title: "a chain that leaves the table", damage: { flags: CONTINUED, next: ENTRIES } },
  { title: "less than a header", damage: { length: HEADER_BYTES - 1 } },
])("ends at $title", async ({ damage }) => {
  guest = await Guest.start(folder, [PORT]);
  guest.write(whole.at, encodePacket({ operation: OP.credit }));
  guest.describe(TX, 0, { ...whole, ...damage });
  guest.offer(TX, 0);
  guest.kick(TX);
  await expectEnd("the guest broke the rules of its queues");
});

test.skipIf(absent).for<{ title: string; damage: (guest: Guest) => void }>([
  { title: "an entry outside the table", damage: (guest) => guest.offer(TX, ENTRIES) },
  { title: "more entries than there are", damage: (guest) => guest.overdraw(TX) },
  {
    title: "a packet that is longer than its parts",
    damage: (guest) => guest.send({ operation: OP.data, length: 1 }),
  },
  {
    title: "a packet above the limit",
    damage: (guest) => guest.send({ operation: OP.data, length: 0xffff_ffff }),
  },
  {
    title: "a packet of another guest",
    damage: (guest) => guest.send({ operation: OP.request, guestCid: 3n }),
  },
])("ends at $title", async ({ damage }) => {
  guest = await Guest.start(folder, [PORT]);
  damage(guest);
  guest.kick(TX);
  await expectEnd("the guest broke the rules of its queues");
});

test.skipIf(absent).for<{ title: string; flags: number; length: number }>([
  { title: "that it may not write", flags: 0, length: 4096 },
  { title: "without room for a byte", flags: FOR_DEVICE_TO_WRITE, length: HEADER_BYTES },
])("ends at a buffer $title", async ({ flags, length }) => {
  guest = await Guest.connect(folder, [PORT]);
  guest.setUp();
  guest.describe(0, 0, { ...whole, flags, length });
  guest.offer(0, 0);
  guest.kick(0);
  await expectEnd("the guest broke the rules of its queues");
});

test.skipIf(absent).for<{ title: string; request: number; body: Uint8Array; names?: string }>([
  { title: "a message that a vsock has not", request: 99, body: words(0, 0) },
  { title: "a third queue", request: MESSAGE.enable, body: words(2, 1) },
  { title: "a queue of no power of two", request: MESSAGE.entries, body: words(0, 3) },
  {
    title: "memory that no file has",
    request: MESSAGE.memory,
    body: memoryTable(1n << 40n),
    names: "m",
  },
  { title: "memory without a file", request: MESSAGE.memory, body: memoryTable(1n) },
  { title: "a kick without a descriptor", request: MESSAGE.kick, body: words(0, 0) },
  {
    title: "a message that is longer than any",
    request: MESSAGE.config,
    body: new Uint8Array(400),
  },
])("ends at $title", async ({ request, body, names = "" }) => {
  guest = await Guest.connect(folder, [PORT]);
  guest.say(request, body, names);
  await expectEnd("expected");
});

test.skipIf(absent)("tells QEMU the guest's CID, and ends with QEMU", async () => {
  guest = await Guest.connect(folder, [PORT]);
  const asked = Buffer.alloc(20);
  asked.writeUInt32LE(8, 4);
  guest.say(MESSAGE.config, asked);
  expect((await guest.answer()).readBigUInt64LE(12)).toBe(16n);
  expect(readdirSync(folder).toSorted()).toEqual(["memory", "vhost", `vm_${PORT}`]);
  expect(await guest.end()).toBe(0);
  expect(readdirSync(folder)).toEqual(["memory"]);
});

test.skipIf(absent)("leaves the sockets of another alone", async () => {
  guest = await Guest.start(folder, [PORT]);
  await expect(Guest.connect(folder, [PORT])).rejects.toThrow("expected it to listen");
  await expect(Guest.connect(folder, [])).rejects.toThrow("expected it to listen");
  expect(readdirSync(folder).toSorted()).toEqual(["memory", "vhost", `vm_${PORT}`]);
});

test.skipIf(absent)("ends when it is told to, and leaves no socket", async () => {
  guest = await Guest.start(folder, [PORT]);
  guest.terminate();
  expect(await guest.ended).toBe(0);
  expect(readdirSync(folder)).toEqual(["memory"]);
});

/** It ended by itself, said why in a line, and a sanitizer said nothing. */
async function expectEnd(why: string): Promise<void> {
  expect(await guest.ended).toBe(1);
  expect(guest.complaints).toMatch(/^vsock backend: [^\n]+\n$/u);
  expect(guest.complaints).toContain(why);
  expect(readdirSync(folder)).toEqual(["memory"]);
}
