import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";

import {
  BOX_CHUNK_BYTES,
  BOX_ENCAPSULATION_BYTES,
  BOX_PLAINTEXT_BYTES_MAX,
  boxKeyPairFromSeed,
  concat,
  generateBoxKeyPair,
  open,
  seal,
  sha256,
  utf8,
  type BoxKeyPair,
} from "#protocol";

const TAG_BYTES = 16;
const info = "test/box";
const aad = utf8("order 7");
const openFailed = { class: "verification", code: "INTERNAL_OPEN_FAILED" };

let key: BoxKeyPair;
let sealed: Uint8Array;
const plaintext = utf8("a work order");

beforeAll(async () => {
  key = await boxKeyPairFromSeed(new Uint8Array(32).fill(5));
  sealed = await seal({ to: key.publicKey, info, aad, plaintext });
});

/** Bytes that differ everywhere, without holding a second copy of a generator's state. */
function sequence(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 31 + (at >> 12)) % 251;
  return bytes;
}

test("[TT-3] what was sealed to a key opens with it", async () => {
  expect(sealed.length).toBe(BOX_ENCAPSULATION_BYTES + plaintext.length + TAG_BYTES);
  expect(await open({ key, info, aad, sealed })).toEqual(plaintext);
});

test("keys come from their seed, and fresh ones differ", async () => {
  const again = await boxKeyPairFromSeed(new Uint8Array(32).fill(5));
  expect(again.publicKey).toEqual(key.publicKey);
  expect(key.publicKey.length).toBe(1216);
  expect(await open({ key: again, info, aad, sealed })).toEqual(plaintext);
  const [one, two] = [await generateBoxKeyPair(), await generateBoxKeyPair()];
  expect(one.publicKey).not.toEqual(two.publicKey);
  await expect(boxKeyPairFromSeed(new Uint8Array(31))).rejects.toMatchObject({
    code: "SCHEMA_MALFORMED",
  });
});

test("a private key shows nothing", () => {
  expect(JSON.stringify(key.privateKey)).toBe('"[secret]"');
  expect(Object.keys(key.privateKey)).toEqual([]);
});

test("sealing twice gives different boxes", async () => {
  const again = await seal({ to: key.publicKey, info, aad, plaintext });
  expect(again).not.toEqual(sealed);
  expect(again.length).toBe(sealed.length);
});

test.for([
  { title: "empty", length: 0, chunks: 1 },
  { title: "one chunk", length: BOX_CHUNK_BYTES, chunks: 1 },
  { title: "one chunk and a byte", length: BOX_CHUNK_BYTES + 1, chunks: 2 },
  { title: "three chunks", length: 3 * BOX_CHUNK_BYTES - 5, chunks: 3 },
])("a plaintext of $title survives", async ({ length, chunks }) => {
  const long = sequence(length);
  const box = await seal({ to: key.publicKey, info, aad, plaintext: long });
  expect(box.length).toBe(BOX_ENCAPSULATION_BYTES + length + chunks * TAG_BYTES);
  expect(sha256(await open({ key, info, aad, sealed: box }))).toEqual(sha256(long));
});

test("[TT-3] nothing opens for another key, info or associated data", async () => {
  const other = await boxKeyPairFromSeed(new Uint8Array(32).fill(6));
  const attempts = [
    { key: other, info, aad, sealed },
    { key, info: "test/bax", aad, sealed },
    { key, info, aad: utf8("order 8"), sealed },
    { key, info, aad: new Uint8Array(0), sealed },
  ];
  for (const attempt of attempts) await expect(open(attempt)).rejects.toMatchObject(openFailed);
});

test("[TT-3] no bit of a box can change", async () => {
  const places = [0, 1087, 1088, 1119, 1120, 1125, sealed.length - TAG_BYTES, sealed.length - 1];
  for (const at of places) {
    const altered = sealed.with(at, (sealed[at] ?? 0) ^ 1);
    await expect(open({ key, info, aad, sealed: altered })).rejects.toMatchObject(openFailed);
  }
});

test("chunks cannot be dropped, repeated, swapped or cut", async () => {
  const long = sequence(3 * BOX_CHUNK_BYTES);
  const box = await seal({ to: key.publicKey, info, aad, plaintext: long });
  const size = BOX_CHUNK_BYTES + TAG_BYTES;
  const head = box.slice(0, BOX_ENCAPSULATION_BYTES);
  const [a, b, c] = [0, 1, 2].map((index) =>
    box.slice(BOX_ENCAPSULATION_BYTES + index * size, BOX_ENCAPSULATION_BYTES + (index + 1) * size),
  );
  const [first, second, third] = [a ?? head, b ?? head, c ?? head];
  const damaged = [
    concat(head, first, second),
    concat(head, second, third),
    concat(head, first, first, third),
    concat(head, second, first, third),
    concat(head, first, second, third, third),
    concat(head, first, second, third.slice(1)),
    concat(head, first, second, third.slice(0, TAG_BYTES)),
    concat(box, new Uint8Array(TAG_BYTES)),
    concat(box, Uint8Array.of(0)),
  ];
  for (const each of damaged) {
    await expect(open({ key, info, aad, sealed: each })).rejects.toMatchObject(openFailed);
  }
});

test("associated data cannot borrow from the chunk's own", async () => {
  const longer = concat(aad, Uint8Array.of(0, 0, 0, 0, 1));
  await expect(open({ key, info, aad: longer, sealed })).rejects.toMatchObject(openFailed);
});

test("any bytes are refused", async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 50 }),
    fc.uint8Array({ minLength: 1120, maxLength: 1200 }),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async (each) => {
      await expect(open({ key, info, aad, sealed: each })).rejects.toMatchObject(openFailed);
    }),
    { numRuns: 30 },
  );
});

test("limits are judged first, and a key of another length is none", async () => {
  const tooLarge = { class: "limit", code: "SCHEMA_TOO_LARGE" };
  const big = new Uint8Array(BOX_PLAINTEXT_BYTES_MAX + 4096);
  const to = key.publicKey;
  await expect(seal({ to, info, aad, plaintext: big })).rejects.toMatchObject(tooLarge);
  await expect(open({ key, info, aad, sealed: big })).rejects.toMatchObject(tooLarge);
  for (const wrong of [new Uint8Array(0), to.slice(1), new Uint8Array(1216).fill(255)]) {
    await expect(seal({ to: wrong, info, aad, plaintext })).rejects.toMatchObject({
      code: "SCHEMA_MALFORMED",
    });
  }
});

test("[TT-3] a recipient key of low order is refused by name", async () => {
  const to = key.publicKey.slice();
  // The X25519 half is the last 32 bytes; all zeros is a point of low order.
  to.fill(0, 1184);
  await expect(seal({ to, info, aad, plaintext })).rejects.toMatchObject({
    class: "malformed",
    code: "SCHEMA_MALFORMED",
    message: expect.stringMatching(/^recipient key: /),
  });
});
