import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { parseNitroDocument } from "../../../attestation/index.ts";
import { createNsmClient, type NsmClient } from "../../../enclave/adapters/nsm.ts";
import { FrameReader, encodeCbor, encodeFrame, hex, utf8 } from "../../../protocol/index.ts";
import { InsecureSimNsm } from "../../../sim/nsm.ts";
import { createInsecureSimPlatform } from "../../../sim/platform.ts";

const GATE = join(import.meta.dirname, "../../../image/gate");
const SOURCES = ["-I", GATE, join(import.meta.dirname, "nsm-main.c"), join(GATE, "nsm.c")];
const SHIM = join(import.meta.dirname, "shim.c");
const STRICT = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"];
const absent = spawnSync("gcc", ["--version"]).status !== 0;
if (absent) console.warn("nsm: skipped, there is no gcc here");

let directory = "";
let device: Server;
let bridge: ChildProcess;
let nsm: InsecureSimNsm;
/** What the device answers; a test may have it answer otherwise. */
let answer: (request: Uint8Array) => Uint8Array = () => new Uint8Array(0);

beforeAll(async () => {
  if (absent) return;
  directory = mkdtempSync(join(tmpdir(), "symphony-nsm-"));
  compile(["-o", join(directory, "nsm"), ...SOURCES]);
  compile(["-shared", "-fPIC", "-o", join(directory, "shim.so"), SHIM, "-ldl"]);
  const platform = createInsecureSimPlatform(join(directory, "platform"));
  const moduleId = platform.moduleId(randomBytes(8));
  const options = { platform, moduleId, nowMs: () => 1_790_000_000_000, random: randomBytes };
  nsm = new InsecureSimNsm({ ...options, pcrs: new Map() });
  device = createServer(serveDevice).listen(join(directory, "device.sock"));
  await once(device, "listening");
  bridge = spawn(join(directory, "nsm"), [join(directory, "nsm.sock")], {
    env: {
      LD_PRELOAD: join(directory, "shim.so"),
      NSM_SHIM_SOCKET: join(directory, "device.sock"),
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { stdout } = bridge;
  if (stdout === null) throw new Error("no output");
  expect(String((await once(stdout, "data"))[0])).toBe("ready\n");
});

beforeEach(() => {
  answer = (request) => nsm.handle(request);
});

afterAll(() => {
  if (absent) return;
  bridge.kill();
  device.close();
  rmSync(directory, { recursive: true, force: true });
});

function compile(args: readonly string[]): void {
  const { status, stderr } = spawnSync("gcc", [...STRICT, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

function serveDevice(socket: Socket): void {
  const reader = new FrameReader();
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    for (const request of reader.push(chunk)) socket.write(encodeFrame(answer(request)));
  });
}

/** Connections of a test; the bridge serves nobody else while one is open. */
const dialled: Socket[] = [];

function dial(): Socket {
  const socket = connect(join(directory, "nsm.sock"));
  socket.on("error", () => socket.destroy());
  dialled.push(socket);
  return socket;
}

/** With an error or without. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.once("close", () => resolve()));
}

afterEach(() => {
  for (const socket of dialled.splice(0)) socket.destroy();
});

async function withClient<T>(use: (client: NsmClient) => Promise<T>): Promise<T> {
  const socket = dial();
  try {
    return await use(createNsmClient(socket));
  } finally {
    socket.destroy();
  }
}

test.skipIf(absent)("the enclave's own client gets every answer through the bridge", async () => {
  await withClient(async (client) => {
    expect(await client.describe()).toMatchObject({ version: "1.0.0", maxPcrs: 32 });
    expect(await client.random(600)).toHaveLength(600);
    expect(await client.describePcr(0)).toMatchObject({ locked: true });
    const value = await client.extendPcr(16, utf8("data"));
    expect(await client.describePcr(16)).toEqual({ locked: false, value });
    await client.lockPcr(16);
    await client.lockPcrs(18);
    const full = new Uint8Array(1024).fill(7);
    const asked = { nonce: full, userData: full, publicKey: full };
    const { pcrs, nonce } = parseNitroDocument(await client.attest(asked));
    expect(pcrs.size).toBe(18);
    expect(hex(nonce ?? value)).toBe(hex(full));
  });
});

test.skipIf(absent)("an error of the module comes through with its name", async () => {
  await withClient(async (client) => {
    const refused = { code: "TEE_NSM_REFUSED", details: { nsmError: "ReadOnlyIndex" } };
    await expect(client.lockPcr(0)).rejects.toMatchObject(refused);
  });
});

test.skipIf(absent).each([
  { title: "EMSGSIZE", errno: 90, nsmError: "InputTooLarge" },
  { title: "EIO", errno: 5, nsmError: "InternalError" },
])("the driver's $title comes as $nsmError", async ({ errno, nsmError }) => {
  answer = () => Uint8Array.of(0xff, 0, 0, 0, errno);
  await withClient(async (client) => {
    await expect(client.describe()).rejects.toMatchObject({ details: { nsmError } });
  });
});

test.skipIf(absent)(
  "an answer of no bytes, and one that is too long, is an InternalError",
  async () => {
    for (const bytes of [0, 0x3001, 0x4000]) {
      answer = () => new Uint8Array(bytes);
      await withClient(async (client) => {
        await expect(client.describe()).rejects.toMatchObject({
          details: { nsmError: "InternalError" },
        });
      });
    }
  },
);

test.skipIf(absent)("carries the longest request and the longest answer", async () => {
  answer = (request) => new Uint8Array(request.length === 0x1000 ? 0x3000 : 1).fill(9);
  const socket = dial();
  socket.write(encodeFrame(new Uint8Array(0x1000)));
  const [longest] = await framesFrom(socket, 1);
  expect(hex(longest ?? utf8(""))).toBe("09".repeat(0x3000));
  socket.destroy();
});

/** The next `count` frames. */
function framesFrom(socket: Socket, count: number): Promise<readonly Uint8Array[]> {
  const reader = new FrameReader();
  const frames: Uint8Array[] = [];
  return new Promise((resolve, reject) => {
    const take = (chunk: Uint8Array): void => {
      frames.push(...reader.push(chunk));
      if (frames.length < count) return;
      socket.off("data", take);
      resolve(frames);
    };
    socket.on("data", take);
    socket.once("close", () => reject(new Error("the bridge hung up")));
  });
}

test.skipIf(absent)(
  "reads a request that comes byte by byte, and several that come at once",
  async () => {
    const socket = dial().setNoDelay(true);
    const request = encodeFrame(encodeCbor("DescribeNSM"));
    for (const byte of request) {
      await new Promise<void>((resolve) => void socket.write(Uint8Array.of(byte), () => resolve()));
    }
    const [first = request] = await framesFrom(socket, 1);
    expect(hex(first)).toContain(hex(utf8("module_id")));
    socket.write(Buffer.concat([request, request]));
    const both = await framesFrom(socket, 2);
    expect(both.map(hex)).toEqual([hex(first), hex(first)]);
    socket.destroy();
  },
);

test.skipIf(absent)(
  "hangs up on a length of none or too many, and serves the next client",
  async () => {
    for (const head of ["00000000", "00001001", "ffffffff"]) {
      let asked = 0;
      answer = () => {
        asked += 1;
        return new Uint8Array(1);
      };
      const socket = dial().resume();
      socket.write(Buffer.from(`${head}00`, "hex"));
      await closed(socket);
      expect(asked).toBe(0);
    }
    answer = (request) => nsm.handle(request);
    await withClient(async (client) => {
      expect(await client.random(8)).toHaveLength(8);
    });
  },
);

test.skipIf(absent)("forgets a request that is cut off, and serves the next client", async () => {
  const socket = dial();
  await once(socket, "connect");
  socket.end(Buffer.from("000000106b4465", "hex"));
  await closed(socket.resume());
  await withClient(async (client) => {
    expect(await client.random(8)).toHaveLength(8);
  });
});

test.skipIf(absent)("serves one client at a time", async () => {
  const first = dial();
  const waiting = dial();
  const early = createNsmClient(first);
  const late = createNsmClient(waiting);
  const order: string[] = [];
  await early.random(1);
  const later = late.random(1).then(() => order.push("late"));
  await early.random(1);
  order.push("early");
  first.destroy();
  await later;
  expect(order).toEqual(["early", "late"]);
  waiting.destroy();
});
