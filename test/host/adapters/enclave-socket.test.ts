import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";

import { afterAll, beforeAll, expect, test } from "vitest";

import { createSocketLauncher } from "../../../host/adapters/enclave-socket.ts";
import { EnclaveClient } from "../../../host/execution/index.ts";
import {
  FRAME_BYTES_MAX,
  FrameReader,
  encodeCbor,
  encodeFrame,
  utf8,
} from "../../../protocol/index.ts";

const DIED = { code: "TEE_ENCLAVE_DIED", class: "unavailable" };
const NONCE = new Uint8Array(32);
const PATIENT_MS = 10_000;

let folder = "";
let server: Server;
/** What the other end of each new connection does. */
let behave: (socket: Socket) => void = () => undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "symphony-socket-"));
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    behave(socket);
  }).listen(place("enclave.sock"));
  await once(server, "listening");
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

function place(name: string): string {
  return join(folder, name);
}

async function connected(how: (socket: Socket) => void): Promise<EnclaveClient> {
  behave = how;
  return new EnclaveClient(await createSocketLauncher(place("enclave.sock")).launch("slice"));
}

const answer = encodeFrame(encodeCbor({ result: "attested", document: utf8("doc") }));

test("a connection is an enclave of its own, which ends with it", async () => {
  const ends: Promise<unknown>[] = [];
  const answering = (socket: Socket): void => {
    const reader = new FrameReader();
    ends.push(once(socket, "end"));
    socket.on("data", (chunk) => {
      for (const _ of reader.push(chunk)) socket.write(answer);
    });
  };
  const [one, two] = [await connected(answering), await connected(answering)];
  expect(await one.attest(NONCE, PATIENT_MS)).toEqual(utf8("doc"));
  await one.close();
  await ends[0];
  expect(await two.attest(NONCE, PATIENT_MS)).toEqual(utf8("doc"));
  await two.close();
  await ends[1];
  expect(ends).toHaveLength(2);
});

test.for<readonly [string, (name: string) => void, string]>([
  ["nothing there", () => undefined, "ENOENT"],
  ["a plain file", (file) => writeFileSync(file, ""), "ECONNREFUSED"],
])("[TT-4] %s is no enclave, and is told of by its path", async ([title, prepare, got]) => {
  const path = place(title);
  prepare(path);
  const launched = createSocketLauncher(path).launch("slice");
  await expect(launched).rejects.toMatchObject(DIED);
  await expect(launched).rejects.toThrow(`${path}: expected it to take a connection, got ${got}`);
});

test("[TT-4] a path that no socket can have is refused as one that is not there", async () => {
  const launched = createSocketLauncher(place("a".repeat(200))).launch("slice");
  await expect(launched).rejects.toMatchObject(DIED);
});

test.for<readonly [string, (socket: Socket) => void]>([
  ["closes at once", (socket) => socket.destroy()],
  ["says that it is done", (socket) => socket.end()],
  ["closes in the middle of a frame", (socket) => socket.end(answer.subarray(0, 9))],
])("[TT-4] who %s is an enclave that died", async ([, how]) => {
  const client = await connected(how);
  await expect(client.attest(NONCE, PATIENT_MS)).rejects.toMatchObject(DIED);
  await client.close();
});

test("[TT-4] who takes the connection and says nothing is given up, and its connection closed", async () => {
  const ended = Promise.withResolvers<unknown>();
  const client = await connected((socket) => socket.resume().once("end", ended.resolve));
  await expect(client.attest(NONCE, 20)).rejects.toMatchObject(DIED);
  await ended.promise;
  await client.close();
});

/** Writes `bytes` for as long as they are taken. */
function pour(socket: Socket, bytes: Uint8Array): void {
  while (socket.writable && socket.write(bytes));
  if (socket.writable) socket.once("drain", () => pour(socket, bytes));
}

test.for<readonly [string, Uint8Array]>([
  ["whole answers", answer],
  ["noise", new Uint8Array(65_536).fill(0xff)],
  ["one frame without an end", new Uint8Array([FRAME_BYTES_MAX >>> 24, 0, 0, 1])],
])("[TT-4] who floods the host with %s is cut off", async ([, bytes]) => {
  const closed = Promise.withResolvers<unknown>();
  const client = await connected((socket) => {
    socket.once("close", closed.resolve);
    pour(socket, bytes);
  });
  await closed.promise;
  await expect(client.attest(NONCE, PATIENT_MS)).rejects.toMatchObject(DIED);
  await client.close();
});

test("a node runs no more enclaves at once than the gate has sessions", () => {
  const text = (path: string): string =>
    readFileSync(join(import.meta.dirname, "../../..", path), "utf8");
  const gate = /^#define SESSIONS_MAX (\d+)$/m.exec(text("image/gate/gate.c"))?.[1];
  const node = /^const ENCLAVES_AT_ONCE_MAX = (\d+);$/m.exec(text("host/execution/node-loop.ts"));
  expect(Number(node?.[1])).toBeLessThanOrEqual(Number(gate));
});
