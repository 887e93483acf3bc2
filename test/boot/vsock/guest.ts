import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

import { compile, startBackend } from "./backend.ts";

const SANITIZED = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

export const ENTRIES = 16;
export const HEADER_BYTES = 44;
export const MEMORY_BYTES = 1 << 20;
/** Where the memory begins for the guest, and for the process that QEMU would be. */
export const GUEST_BASE = 0x100000n;
export const USER_BASE = 0x7f0000000000n;
export const OP = { request: 1, response: 2, reset: 3, shutdown: 4, data: 5, credit: 6 } as const;
/** Flags of a descriptor. */
export const CONTINUED = 1;
export const FOR_DEVICE_TO_WRITE = 2;
export const INDIRECT = 4;

const GUEST_CID = 16n;
const BUFFER_BYTES = HEADER_BYTES + 8192;
const BUFFERS_AT = 0x10000;
const TO_GUEST = 0;
const FROM_GUEST = 1;

/** Messages of vhost-user, by their numbers. */
export const MESSAGE = {
  memory: 5,
  entries: 8,
  rings: 9,
  base: 10,
  kick: 12,
  call: 13,
  enable: 18,
  config: 24,
} as const;

/** A packet, from or for the guest. */
export interface Packet {
  guestCid: bigint;
  hostCid: bigint;
  hostPort: number;
  guestPort: number;
  type: number;
  operation: number;
  flags: number;
  /** Bytes that its sender has room for, and took. */
  room: number;
  taken: number;
  data: Buffer;
  /** Bytes of data that it says it has. */
  length: number;
}

export type Descriptor = { at: bigint; length: number; flags: number; next: number };

/** Compiles what a guest needs, which takes some seconds the first time. */
export function compileAll(): void {
  compile("front");
  compile("backend", SANITIZED);
}

/** A guest and its QEMU, as a vsock device sees them: memory, two queues, messages, kicks and calls. */
export class Guest {
  /** The back end's exit code. */
  readonly ended: Promise<number | null>;
  readonly #backend: ChildProcessByStdio<null, Readable, Readable>;
  readonly #front: ChildProcessByStdio<Writable, Readable, null>;
  #memory: number;
  readonly #lines: AsyncIterator<string>;
  readonly #packets: Packet[] = [];
  readonly #replies: Buffer[] = [];
  /** Entries made available, per queue, and those of the first that came back. */
  readonly #made = [0, 0];
  #seen = 0;
  #complaints = "";

  private constructor(backend: ChildProcessByStdio<null, Readable, Readable>, folder: string) {
    const file = join(folder, "memory");
    this.#memory = openSync(file, "w+");
    ftruncateSync(this.#memory, MEMORY_BYTES);
    this.#backend = backend;
    backend.stderr.on("data", (text) => (this.#complaints += String(text)));
    this.ended = once(backend, "close").then(([code]) => code);
    const words = [join(folder, "vhost"), file];
    this.#front = spawn(compile("front"), words, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#front.stdout })[Symbol.asyncIterator]();
  }

  /** A device for PREFIX `vm` in `folder`, which QEMU has not said a word to. */
  static async connect(folder: string, ports: readonly number[]): Promise<Guest> {
    const place = { socket: join(folder, "vhost"), prefix: join(folder, "vm"), ports };
    return new Guest(await startBackend(place, SANITIZED), folder);
  }

  /** A device whose queues run, with a buffer in each entry of the one towards the guest. */
  static async start(folder: string, ports: readonly number[]): Promise<Guest> {
    const guest = await Guest.connect(folder, ports);
    guest.setUp();
    for (let entry = 0; entry < ENTRIES; entry++) {
      const at = bufferAt(TO_GUEST, entry);
      const flags = FOR_DEVICE_TO_WRITE;
      guest.describe(TO_GUEST, entry, { at, length: BUFFER_BYTES, flags, next: 0 });
      guest.offer(TO_GUEST, entry);
    }
    guest.kick(TO_GUEST);
    return guest;
  }

  /** What it has complained of. */
  get complaints(): string {
    return this.#complaints;
  }

  /** Says what QEMU says before a guest runs. */
  setUp(): void {
    this.say(MESSAGE.memory, memoryTable(BigInt(MEMORY_BYTES)), "m");
    for (const [queue, kick, call] of [
      [TO_GUEST, "k", "c"],
      [FROM_GUEST, "l", "d"],
    ] as const) {
      this.say(MESSAGE.entries, words(queue, ENTRIES));
      this.say(MESSAGE.base, words(queue, 0));
      this.say(MESSAGE.rings, ringTable(queue));
      this.say(MESSAGE.call, words(queue, 0), call);
      this.say(MESSAGE.kick, words(queue, 0), kick);
      this.say(MESSAGE.enable, words(queue, 1));
    }
  }

  /** Sends a message of vhost-user, with the descriptors that front.c calls by these letters. */
  say(request: number, body: Uint8Array, names = ""): void {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(request);
    head.writeUInt32LE(1, 4);
    head.writeUInt32LE(body.length, 8);
    const hex = Buffer.concat([head, body]).toString("hex");
    this.#front.stdin.write(`m ${hex} ${names}\n`);
  }

  kick(queue: number): void {
    this.#front.stdin.write(queue === TO_GUEST ? "k\n" : "l\n");
  }

  /** The next answer to a message: what stands after its head. */
  async answer(): Promise<Buffer> {
    for (;;) {
      const reply = this.#replies.shift();
      if (reply !== undefined) return reply;
      await this.#step();
    }
  }

  /** The next packet for the guest. */
  async receive(): Promise<Packet> {
    for (;;) {
      const packet = this.#packets.shift();
      if (packet !== undefined) return packet;
      await this.#step();
    }
  }

  /** Sends a packet, in as many descriptors as `cuts` has ends of parts, and one more. */
  send(packet: Partial<Packet>, cuts: readonly number[] = []): void {
    const bytes = encodePacket(packet);
    const ends = [...cuts, bytes.length];
    const first = (this.#made[FROM_GUEST] ?? 0) % ENTRIES;
    const at = bufferAt(FROM_GUEST, first);
    this.write(at, bytes);
    for (const [index, end] of ends.entries()) {
      const start = ends[index - 1] ?? 0;
      const flags = index + 1 < ends.length ? CONTINUED : 0;
      const descriptor = { at: at + BigInt(start), length: end - start, flags };
      // Entries that this packet alone has: what was sent before has been taken.
      const entry = (first + index) % ENTRIES;
      this.describe(FROM_GUEST, entry, { ...descriptor, next: (entry + 1) % ENTRIES });
    }
    this.offer(FROM_GUEST, first);
    this.kick(FROM_GUEST);
  }

  /** Until the device has taken all that was sent. */
  async taken(): Promise<void> {
    const { used } = ring(FROM_GUEST);
    const sent = (this.#made[FROM_GUEST] ?? 0) % 65536;
    while (this.#read(used + 2n, 2).readUInt16LE() !== sent) await this.#step();
  }

  describe(queue: number, entry: number, { at, length, flags, next }: Descriptor): void {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(at);
    bytes.writeUInt32LE(length, 8);
    bytes.writeUInt16LE(flags, 12);
    bytes.writeUInt16LE(next, 14);
    this.write(ring(queue).descriptors + BigInt(16 * entry), bytes);
  }

  /** Makes the chain that begins at `entry` available; the device is told by a kick. */
  offer(queue: number, entry: number): void {
    const made = this.#made[queue] ?? 0;
    const { available } = ring(queue);
    this.write(available + BigInt(4 + 2 * (made % ENTRIES)), half(entry));
    this.#made[queue] = made + 1;
    this.write(available + 2n, half(made + 1));
  }

  /** Says that as many entries are available as there never were. */
  overdraw(queue: number): void {
    this.write(ring(queue).available + 2n, half((this.#made[queue] ?? 0) + ENTRIES + 1));
  }

  write(at: bigint, bytes: Uint8Array): void {
    writeSync(this.#memory, bytes, 0, bytes.length, Number(at - GUEST_BASE));
  }

  #read(at: bigint, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.#memory, bytes, 0, length, Number(at - GUEST_BASE));
    return bytes;
  }

  /** Takes one line of what the device does. */
  async #step(): Promise<void> {
    const { value, done } = await this.#lines.next();
    if (done === true || value === "e") throw new Error(`the device has gone: ${this.#complaints}`);
    if (value.startsWith("r ")) this.#replies.push(Buffer.from(value.slice(2), "hex").subarray(12));
    const { used } = ring(TO_GUEST);
    const end = this.#read(used + 2n, 2).readUInt16LE();
    for (; this.#seen !== end; this.#seen = (this.#seen + 1) % 65536) {
      const element = this.#read(used + BigInt(4 + 8 * (this.#seen % ENTRIES)), 8);
      const entry = element.readUInt32LE();
      const bytes = this.#read(bufferAt(TO_GUEST, entry), element.readUInt32LE(4));
      this.#packets.push(decodePacket(bytes));
      this.offer(TO_GUEST, entry);
      this.kick(TO_GUEST);
    }
  }

  /** QEMU ends, and the device after it. */
  async end(): Promise<number | null> {
    this.#front.stdin.end();
    const code = await this.ended;
    if (this.#memory >= 0) closeSync(this.#memory);
    this.#memory = -1;
    return code;
  }

  /** Asks the device to end before QEMU does. */
  terminate(): void {
    this.#backend.kill("SIGTERM");
  }
}

function ring(queue: number): { descriptors: bigint; available: bigint; used: bigint } {
  const descriptors = GUEST_BASE + BigInt(0x1000 * queue);
  return { descriptors, available: descriptors + 0x400n, used: descriptors + 0x800n };
}

function bufferAt(queue: number, entry: number): bigint {
  return GUEST_BASE + BigInt(BUFFERS_AT + (queue * ENTRIES + entry) * 0x4000);
}

/** One region: the whole memory, with a length that may be told wrongly. */
export function memoryTable(length: bigint): Uint8Array {
  const bytes = Buffer.alloc(40);
  bytes.writeUInt32LE(1);
  bytes.writeBigUInt64LE(GUEST_BASE, 8);
  bytes.writeBigUInt64LE(length, 16);
  bytes.writeBigUInt64LE(USER_BASE, 24);
  return bytes;
}

function ringTable(queue: number): Uint8Array {
  const bytes = Buffer.alloc(40);
  const { descriptors, available, used } = ring(queue);
  bytes.writeUInt32LE(queue);
  for (const [index, at] of [descriptors, used, available].entries())
    bytes.writeBigUInt64LE(at - GUEST_BASE + USER_BASE, 8 + 8 * index);
  return bytes;
}

/** Two numbers of four bytes. */
export function words(first: number, second: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(first);
  bytes.writeUInt32LE(second, 4);
  return bytes;
}

function half(value: number): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value % 65536);
  return bytes;
}

/** What stands in the guest's memory for a packet. */
export function encodePacket(packet: Partial<Packet>): Buffer {
  const data = packet.data ?? Buffer.alloc(0);
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeBigUInt64LE(packet.guestCid ?? GUEST_CID);
  head.writeBigUInt64LE(packet.hostCid ?? 3n, 8);
  head.writeUInt32LE(packet.guestPort ?? 0, 16);
  head.writeUInt32LE(packet.hostPort ?? 0, 20);
  head.writeUInt32LE(packet.length ?? data.length, 24);
  head.writeUInt16LE(packet.type ?? 1, 28);
  head.writeUInt16LE(packet.operation ?? 0, 30);
  head.writeUInt32LE(packet.flags ?? 0, 32);
  head.writeUInt32LE(packet.room ?? 65536, 36);
  head.writeUInt32LE(packet.taken ?? 0, 40);
  return Buffer.concat([head, data]);
}

function decodePacket(bytes: Buffer): Packet {
  return {
    hostCid: bytes.readBigUInt64LE(),
    guestCid: bytes.readBigUInt64LE(8),
    hostPort: bytes.readUInt32LE(16),
    guestPort: bytes.readUInt32LE(20),
    length: bytes.readUInt32LE(24),
    type: bytes.readUInt16LE(28),
    operation: bytes.readUInt16LE(30),
    flags: bytes.readUInt32LE(32),
    room: bytes.readUInt32LE(36),
    taken: bytes.readUInt32LE(40),
    data: bytes.subarray(HEADER_BYTES),
  };
}
