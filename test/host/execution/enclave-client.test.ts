import { duplexPair } from "node:stream";
import type { Duplex } from "node:stream";

import { expect, test } from "vitest";

import { EnclaveClient, type EnclaveExit } from "../../../host/execution/index.ts";
import {
  FRAME_BYTES_MAX,
  FrameReader,
  encodeCbor,
  encodeFrame,
  utf8,
  type CborValue,
} from "../../../protocol/index.ts";

/** An enclave's end of a real stream, which does what a test says. */
interface FakeEnclave {
  readonly client: EnclaveClient;
  readonly end: Duplex;
  /** The next request, as a frame. */
  readonly request: Promise<Uint8Array>;
  readonly exit: (exit?: EnclaveExit) => void;
  readonly killed: () => number;
}

function enclave(): FakeEnclave {
  const [hostEnd, end] = duplexPair();
  const exited = Promise.withResolvers<EnclaveExit>();
  const request = Promise.withResolvers<Uint8Array>();
  const reader = new FrameReader();
  let kills = 0;
  end.on("data", (chunk: Uint8Array) => {
    for (const frame of reader.push(chunk)) request.resolve(frame);
  });
  const exit = (how: EnclaveExit = { code: 0, signal: null }): void => exited.resolve(how);
  const client = new EnclaveClient({
    channel: hostEnd,
    exited: exited.promise,
    kill: () => {
      kills += 1;
      exit({ code: null, signal: "SIGKILL" });
    },
  });
  return { client, end, request: request.promise, exit, killed: () => kills };
}

const NONCE = new Uint8Array(32);
const DIED = { code: "TEE_ENCLAVE_DIED", class: "unavailable" };

async function answered(response: CborValue) {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 5_000);
  await fake.request;
  fake.end.write(encodeFrame(encodeCbor(response)));
  return attested;
}

test("a request gets its response", async () => {
  expect(await answered({ result: "attested", document: utf8("doc") })).toEqual(utf8("doc"));
});

test("a response in single bytes is the same response", async () => {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 5_000);
  await fake.request;
  for (const byte of encodeFrame(encodeCbor({ result: "attested", document: utf8("doc") }))) {
    fake.end.write(Uint8Array.of(byte));
  }
  expect(await attested).toEqual(utf8("doc"));
});

test("[TT-4] an enclave that dies is a failure of the platform", async () => {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 5_000);
  await fake.request;
  fake.exit({ code: null, signal: "SIGKILL" });
  await expect(attested).rejects.toMatchObject(DIED);
  await expect(fake.client.attest(NONCE, 5_000)).rejects.toMatchObject(DIED);
});

test("[TT-4] an enclave that closes or breaks its channel is one that died", async () => {
  for (const end of ["destroy", "end"] as const) {
    const fake = enclave();
    const attested = fake.client.attest(NONCE, 5_000);
    await fake.request;
    if (end === "destroy") fake.end.destroy();
    else fake.end.end();
    fake.exit();
    await expect(attested).rejects.toMatchObject(DIED);
  }
});

test("[TT-4] an enclave that stays silent is ended at its deadline", async () => {
  const fake = enclave();
  await expect(fake.client.attest(NONCE, 20)).rejects.toMatchObject(DIED);
  expect(fake.killed()).toBe(1);
});

test("an enclave that answers half a frame is silent too", async () => {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 50);
  fake.end.write(
    encodeFrame(encodeCbor({ result: "attested", document: utf8("doc") })).subarray(0, 9),
  );
  await expect(attested).rejects.toMatchObject(DIED);
});

test("an enclave that announces a frame over the limit is ended before it sends it", async () => {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 5_000);
  const announced = new Uint8Array(4);
  new DataView(announced.buffer).setUint32(0, FRAME_BYTES_MAX + 1);
  fake.end.write(announced);
  await expect(attested).rejects.toMatchObject(DIED);
  expect(fake.killed()).toBe(1);
});

test("an enclave's own refusal keeps its code", async () => {
  const refused = answered({ result: "failed", code: "EXECUTION_INPUT_MISMATCH" });
  await expect(refused).rejects.toMatchObject({
    code: "EXECUTION_INPUT_MISMATCH",
    class: "refused",
  });
});

test.for([
  { title: "another method's answer", response: { result: "booted", manifest: utf8("m") } },
  {
    title: "an answer with a field too many",
    response: { result: "attested", document: utf8("d"), x: 1 },
  },
  { title: "a code nobody knows", response: { result: "failed", code: "SOME_CODE" } },
  { title: "a list", response: ["attested"] },
])("refuses $title", async ({ response }) => {
  await expect(answered(response)).rejects.toMatchObject({ code: "SCHEMA_MALFORMED" });
});

test("refuses an answer that is no CBOR", async () => {
  const fake = enclave();
  const attested = fake.client.attest(NONCE, 5_000);
  await fake.request;
  fake.end.write(encodeFrame(Uint8Array.of(0xff, 0xff)));
  await expect(attested).rejects.toMatchObject({ class: "malformed" });
});

test("[TT-4] an enclave that speaks unasked, or twice, is ended", async () => {
  const frame = encodeFrame(encodeCbor({ result: "attested", document: utf8("early") }));
  const early = enclave();
  early.end.write(frame);
  await new Promise((resolve) => setImmediate(resolve));
  expect(early.killed()).toBe(1);
  await expect(early.client.attest(NONCE, 5_000)).rejects.toMatchObject(DIED);

  const twice = enclave();
  const attested = twice.client.attest(NONCE, 5_000);
  await twice.request;
  twice.end.write(Buffer.concat([frame, frame]));
  expect(await attested).toEqual(utf8("early"));
  expect(twice.killed()).toBe(1);
});

test("closing ends the enclave and waits for it", async () => {
  const fake = enclave();
  await fake.client.close();
  expect(fake.killed()).toBe(1);
});
