import { verify } from "node:crypto";

import fc from "fast-check";
import { expect, test } from "vitest";

import {
  SymphonyError,
  encodeCbor,
  encodeCborHeader,
  fromHex,
  hex,
  isSignature,
  keyIdOf,
  parseCose,
  sha256,
  signBytes,
  signCose,
  signingKeyFromSeed,
  utf8,
  verificationKey,
  verifyCose,
  type CborValue,
} from "#protocol";

const key = signingKeyFromSeed(new Uint8Array(32).fill(1));
const otherKey = signingKeyFromSeed(new Uint8Array(32).fill(2));
const payload = encodeCbor({ amount: 3 });
const genuine = signCose({ contentType: "order", payload, key });
const expected = { contentType: "order", publicKey: key.publicKey };

test("keys and signatures are those of RFC 8032, section 7.1", () => {
  const one = signingKeyFromSeed(
    fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
  );
  expect(hex(one.publicKey)).toBe(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
  );
  expect(hex(signBytes(new Uint8Array(0), one))).toBe(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555" +
      "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  );
  expect(one.keyId).toBe(hex(sha256(one.publicKey)).slice(0, 32));
});

test.for([0, 31, 33])("a key of %d bytes is none", (length) => {
  const malformed = expect.objectContaining({ code: "SCHEMA_MALFORMED" });
  expect(() => signingKeyFromSeed(new Uint8Array(length))).toThrow(malformed);
  expect(() => verificationKey(new Uint8Array(length))).toThrow(malformed);
});

test("[DT-1] a signed object has one encoding: the one of RFC 9052", () => {
  const mediaType = hex(utf8("application/vnd.symphony.order.v1+cbor"));
  const header = fromHex(`a30127037826${mediaType}0450${key.keyId}`);
  const toBeSigned = encodeCbor(["Signature1", header, new Uint8Array(0), payload]);
  const { signature, protectedHeader } = parseCose(genuine);
  expect(protectedHeader).toEqual(header);
  expect(verify(null, toBeSigned, verificationKey(key.publicKey), signature)).toBe(true);
  expect(genuine).toEqual(encodeCbor([header, {}, payload, signature]));
  expect(signCose({ contentType: "order", payload, key })).toEqual(genuine);
});

test("what was signed is verified and given back", () => {
  expect(verifyCose(genuine, expected)).toEqual(payload);
  expect(parseCose(genuine)).toMatchObject({ contentType: "order", keyId: key.keyId, payload });
  expect(keyIdOf(key.publicKey)).toBe(key.keyId);
});

test("an object of one type is none of another", () => {
  expect(() => verifyCose(genuine, { ...expected, contentType: "offer" })).toThrow(
    expect.objectContaining({ class: "verification", code: "PROOF_SIGNATURE_INVALID" }),
  );
});

test("another key has not signed it", () => {
  expect(() => verifyCose(genuine, { ...expected, publicKey: otherKey.publicKey })).toThrow(
    expect.objectContaining({ class: "verification", code: "PROOF_SIGNATURE_INVALID" }),
  );
});

const { protectedHeader, signature } = parseCose(genuine);

function header(entries: readonly (readonly [number, CborValue])[]): Uint8Array {
  return encodeCborHeader(new Map(entries));
}

const algorithm = [1, -8] as const;
const mediaType = [3, "application/vnd.symphony.order.v1+cbor"] as const;
const kid = [4, fromHex(key.keyId)] as const;

test.for<{ title: string; parts: CborValue }>([
  { title: "a map", parts: { protected: protectedHeader } },
  { title: "three parts", parts: [protectedHeader, {}, payload] },
  { title: "five parts", parts: [protectedHeader, {}, payload, signature, 0] },
  { title: "an unprotected header", parts: [protectedHeader, { a: 1 }, payload, signature] },
  { title: "an array for the header", parts: [protectedHeader, [], payload, signature] },
  {
    title: "bytes for the header",
    parts: [protectedHeader, new Uint8Array(0), payload, signature],
  },
  { title: "a detached payload", parts: [protectedHeader, {}, null, signature] },
  { title: "a short signature", parts: [protectedHeader, {}, payload, signature.slice(1)] },
  { title: "no protected header", parts: [new Uint8Array(0), {}, payload, signature] },
  { title: "no algorithm", parts: [header([mediaType, kid]), {}, payload, signature] },
  {
    title: "another algorithm",
    parts: [header([[1, -7], mediaType, kid]), {}, payload, signature],
  },
  { title: "no content type", parts: [header([algorithm, kid]), {}, payload, signature] },
  { title: "no key id", parts: [header([algorithm, mediaType]), {}, payload, signature] },
  {
    title: "a short key id",
    parts: [header([algorithm, mediaType, [4, new Uint8Array(15)]]), {}, payload, signature],
  },
  {
    title: "another header field",
    parts: [header([algorithm, mediaType, kid, [5, 1]]), {}, payload, signature],
  },
  {
    title: "critical headers",
    parts: [header([algorithm, [2, [3]], mediaType, kid]), {}, payload, signature],
  },
  ...["order", "application/vnd.symphony.order.v2+cbor", "application/vnd.symphony..v1+cbor"].map(
    (other) => ({
      title: `content type ${other}`,
      parts: [header([algorithm, [3, other], kid]), {}, payload, signature],
    }),
  ),
])("parses no $title", ({ parts }) => {
  expect(() => parseCose(encodeCbor(parts))).toThrow(
    expect.objectContaining({ class: "malformed", code: "SCHEMA_CBOR_MALFORMED" }),
  );
});

test("parses no tagged object, and none over the limit", () => {
  const tagged = fromHex(`d2${hex(genuine)}`);
  expect(() => parseCose(tagged)).toThrow(
    expect.objectContaining({ code: "SCHEMA_CBOR_MALFORMED" }),
  );
  expect(() => parseCose(genuine, genuine.length - 1)).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
  expect(() => verifyCose(genuine, { ...expected, maxBytes: 10 })).toThrow(
    expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }),
  );
});

test("no bit of a signed object can change", () => {
  for (let at = 0; at < genuine.length; at += 1) {
    const altered = genuine.with(at, (genuine[at] ?? 0) ^ (1 << (at % 8)));
    expect(() => verifyCose(altered, expected)).toThrow(SymphonyError);
  }
});

test("any bytes are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(() => verifyCose(bytes, expected)).toThrow(SymphonyError);
    }),
  );
});

test.for(["", "Order", "order/offer", "-order", "o".repeat(65)])(
  "signs nothing of type %j",
  (contentType) => {
    expect(() => signCose({ contentType, payload, key })).toThrow(
      expect.objectContaining({ code: "SCHEMA_MALFORMED" }),
    );
  },
);

test("a plain signature belongs to its message, key and length", () => {
  const message = utf8("message");
  const claim = { message, publicKey: key.publicKey, signature: signBytes(message, key) };
  expect(isSignature(claim)).toBe(true);
  expect(isSignature({ ...claim, message: utf8("massage") })).toBe(false);
  expect(isSignature({ ...claim, publicKey: otherKey.publicKey })).toBe(false);
  expect(isSignature({ ...claim, signature: claim.signature.slice(1) })).toBe(false);
});
