import { duplexPair, type Duplex } from "node:stream";

import { expect, test } from "vitest";

import { NSM_ERRORS, createNsmClient, type NsmClient } from "../../../enclave/adapters/nsm.ts";
import {
  FrameReader,
  encodeCbor,
  encodeFrame,
  fromHex,
  hex,
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

/** What each call sends, byte for byte as the platform's own library writes it, and a good answer to it. */
const CALLS: readonly {
  title: string;
  call: (client: NsmClient) => Promise<unknown>;
  request: string;
  answer: CborValue;
  result: unknown;
}[] = [
  {
    title: "GetRandom",
    call: (client) => client.random(2),
    request: "6947657452616e646f6d",
    answer: { GetRandom: { random: fromHex("010203") } },
    result: fromHex("0102"),
  },
  {
    title: "DescribeNSM",
    call: (client) => client.describe(),
    request: "6b44657363726962654e534d",
    answer: {
      DescribeNSM: {
        version_major: 1,
        version_minor: 2,
        version_patch: 3,
        module_id: "i-1-enc2",
        max_pcrs: 32,
        locked_pcrs: [0, 1, 31],
        digest: "SHA384",
      },
    },
    result: {
      version: "1.2.3",
      moduleId: "i-1-enc2",
      digest: "SHA384",
      maxPcrs: 32,
      lockedPcrs: [0, 1, 31],
    },
  },
  {
    title: "DescribePCR",
    call: (client) => client.describePcr(0),
    request: "a16b4465736372696265504352a165696e64657800",
    answer: { DescribePCR: { lock: true, data: utf8("pcr") } },
    result: { locked: true, value: utf8("pcr") },
  },
  {
    title: "ExtendPCR",
    call: (client) => client.extendPcr(16, fromHex("010203")),
    request: "a169457874656e64504352a265696e64657810646461746143010203",
    answer: { ExtendPCR: { data: utf8("new") } },
    result: utf8("new"),
  },
  {
    title: "LockPCR",
    call: (client) => client.lockPcr(16),
    request: "a1674c6f636b504352a165696e64657810",
    answer: "LockPCR",
    result: undefined,
  },
  {
    title: "LockPCRs",
    call: (client) => client.lockPcrs(16),
    request: "a1684c6f636b50435273a16572616e676510",
    answer: "LockPCRs",
    result: undefined,
  },
  {
    title: "Attestation",
    call: (client) => client.attest(NOTHING),
    request:
      "a16b4174746573746174696f6ea369757365725f64617461f6656e6f6e6365f66a7075626c69635f6b6579f6",
    answer: { Attestation: { document: utf8("document") } },
    result: utf8("document"),
  },
  {
    title: "Attestation with its three fields",
    call: (client) =>
      client.attest({ nonce: utf8("n"), userData: utf8("u"), publicKey: utf8("p") }),
    request:
      "a16b4174746573746174696f6ea369757365725f646174614175656e6f6e6365416e6a7075626c69635f6b65794170",
    answer: { Attestation: { document: utf8("document") } },
    result: utf8("document"),
  },
];

test.for(CALLS)("[RT-5] $title: exact bytes out, the answer back", async (each) => {
  const requests: string[] = [];
  const client = createNsmClient(
    nsmAnswering((request) => {
      requests.push(hex(request));
      return framed(each.answer);
    }),
  );
  expect(await each.call(client)).toEqual(each.result);
  expect(requests).toEqual([each.request]);
});

test.for(CALLS)("$title: refuses another call's answer, and half of its own", async (each) => {
  const others = CALLS.filter(({ answer }) => nameOf(answer) !== nameOf(each.answer));
  const half = typeof each.answer === "string" ? "Lock" : { [nameOf(each.answer)]: {} };
  for (const answer of [...others.map((other) => other.answer), half]) {
    const client = createNsmClient(nsmAnswering(() => framed(answer)));
    await expect(each.call(client)).rejects.toMatchObject(FAILED);
  }
});

function nameOf(answer: CborValue): string {
  return typeof answer === "string" ? answer : (Object.keys(answer ?? {})[0] ?? "");
}

test.for(CALLS)(
  "$title: each error of the module comes as a refusal with its name",
  async (each) => {
    expect(NSM_ERRORS).toHaveLength(8);
    for (const nsmError of NSM_ERRORS) {
      const client = createNsmClient(nsmAnswering(() => framed({ Error: nsmError })));
      await expect(each.call(client)).rejects.toMatchObject({
        name: "RefusedError",
        code: "TEE_NSM_REFUSED",
        details: { nsmError },
      });
    }
  },
);

test("sends nothing that is too large, and no more calls at once than it should", async () => {
  const client = createNsmClient(
    nsmAnswering(() => null),
    { deadlineMs: 50 },
  );
  const refused = { name: "LimitError", code: "TEE_NSM_REFUSED" };
  const long = new Uint8Array(1025);
  for (const field of ["nonce", "userData", "publicKey"]) {
    const asked = client.attest({ ...NOTHING, [field]: long });
    await expect(asked).rejects.toMatchObject(refused);
  }
  await expect(client.extendPcr(16, new Uint8Array(0x1000))).rejects.toMatchObject(refused);
  await expect(client.random(0)).rejects.toMatchObject(refused);
  await expect(client.random(4097)).rejects.toMatchObject(refused);
  await expect(client.random(1.5)).rejects.toMatchObject(refused);
  const calls = Array.from({ length: 65 }, () => client.lockPcr(16));
  const outcomes = await Promise.allSettled(calls);
  expect(outcomes.filter(({ status }) => status === "rejected")).toHaveLength(65);
  expect(outcomes.at(-1)).toMatchObject({ reason: refused });
  expect(outcomes.at(-2)).toMatchObject({ reason: FAILED });
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
});

test.for<{ title: string; answer: Uint8Array }>([
  { title: "an error of no name", answer: framed({ Error: "Refused" }) },
  { title: "an error that says success", answer: framed({ Error: "Success" }) },
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
