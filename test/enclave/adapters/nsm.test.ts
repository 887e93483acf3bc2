import { duplexPair, type Duplex } from "node:stream";

import { expect, test } from "vitest";

import { createNsmClient } from "../../../enclave/adapters/nsm.ts";
import {
  FrameReader,
  encodeCbor,
  encodeFrame,
  utf8,
  type CborValue,
} from "../../../protocol/index.ts";

/** An NSM that answers each request as it is told; null is silence. */
function nsmAnswering(answer: (request: Uint8Array) => Uint8Array | null): Duplex {
  const [inside, outside] = duplexPair();
  const reader = new FrameReader();
  outside.on("data", (chunk: Uint8Array) => {
    for (const request of reader.push(chunk)) {
      const bytes = answer(request);
      if (bytes !== null) outside.write(bytes);
    }
  });
  return inside;
}

const framed = (value: CborValue): Uint8Array => encodeFrame(encodeCbor(value));
const FAILED = { code: "TEE_NSM_FAILED" };
const NOTHING = { nonce: null, userData: null, publicKey: null };

test("[RT-5] asks for a document with nonce, user data and key, and returns it", async () => {
  const requests: Uint8Array[] = [];
  const client = createNsmClient(
    nsmAnswering((request) => {
      requests.push(Uint8Array.from(request));
      return framed({ Attestation: { document: utf8("document") } });
    }),
  );
  const asked = { nonce: utf8("n"), userData: utf8("u"), publicKey: utf8("p") };
  expect(await client.attest(asked)).toEqual(utf8("document"));
  expect(requests[0]).toEqual(
    encodeCbor({
      Attestation: { nonce: utf8("n"), user_data: utf8("u"), public_key: utf8("p") },
    }),
  );
});

test("answers calls made at once in order", async () => {
  let count = 0;
  const client = createNsmClient(
    nsmAnswering(() => framed({ Attestation: { document: Uint8Array.of(count++) } })),
  );
  const documents = await Promise.all([0, 1, 2].map(() => client.attest(NOTHING)));
  expect(documents.map((document) => document[0])).toEqual([0, 1, 2]);
});

test("fills random bytes from several answers", async () => {
  const client = createNsmClient(
    nsmAnswering(() => framed({ GetRandom: { random: new Uint8Array(256).fill(9) } })),
  );
  expect(await client.random(600)).toEqual(new Uint8Array(600).fill(9));
  await expect(client.random(0)).rejects.toMatchObject(FAILED);
  await expect(client.random(4097)).rejects.toMatchObject(FAILED);
});

test.for<{ title: string; answer: Uint8Array }>([
  { title: "an error", answer: framed({ Error: "InputTooLarge" }) },
  { title: "another answer", answer: framed({ GetRandom: { random: utf8("x") } }) },
  { title: "no map", answer: framed("LockPCR") },
  { title: "two answers in one map", answer: framed({ Attestation: {}, Error: "Success" }) },
  { title: "no document", answer: framed({ Attestation: {} }) },
  { title: "a text document", answer: framed({ Attestation: { document: "x" } }) },
  { title: "bytes that are no CBOR", answer: encodeFrame(utf8("\u0000\u0000")) },
  { title: "a frame above 12 288 bytes", answer: encodeFrame(new Uint8Array(12_289)) },
])("refuses $title", async ({ answer }) => {
  const client = createNsmClient(nsmAnswering(() => answer));
  await expect(client.attest(NOTHING)).rejects.toMatchObject(FAILED);
});

test("gives up after its deadline, for good", async () => {
  const client = createNsmClient(
    nsmAnswering(() => null),
    { deadlineMs: 20 },
  );
  const calls = [client.describe(), client.attest(NOTHING)];
  for (const call of calls) await expect(call).rejects.toMatchObject(FAILED);
  await expect(client.random(1)).rejects.toMatchObject(FAILED);
});

test("fails every call when the stream ends or speaks unasked", async () => {
  const [inside, outside] = duplexPair();
  const client = createNsmClient(inside);
  const call = client.attest(NOTHING);
  outside.end();
  await expect(call).rejects.toMatchObject(FAILED);
  const [other, speaker] = duplexPair();
  const surprised = createNsmClient(other);
  speaker.write(framed("LockPCR"));
  await new Promise((resolve) => void other.once("close", resolve));
  await expect(surprised.describe()).rejects.toMatchObject(FAILED);
});
