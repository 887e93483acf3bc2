import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { expect, test } from "vitest";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { SymphonyError, concat, hex, utf8 } from "../../../protocol/index.ts";
import { sealForRecipient } from "../../../host/sovereignty/custody/cms.ts";

const VECTORS = join(
  process.env["SYMPHONY_SHARED"] ?? join(import.meta.dirname, "../../../../shared"),
  "vectors/kms-cms",
);
const absent = !existsSync(join(VECTORS, "index.json"));
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const spki = publicKey.export({ format: "der", type: "spki" });
let counter = 0;
const random = (bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, () => (counter = (counter * 73 + 41) % 251));
const seal = (plaintext: Uint8Array): Uint8Array => sealForRecipient({ plaintext, spki, random });

test.skipIf(absent)("[RT-5] opens blobs made by another implementation", () => {
  const key = createPrivateKey(readFileSync(join(VECTORS, "test-recipient-key.pem")));
  const plaintext = hex(readFileSync(join(VECTORS, "test-plaintext.bin")));
  for (const file of ["generated-def.der", "generated-indef.der"]) {
    expect(hex(openCiphertextForRecipient(readFileSync(join(VECTORS, file)), key))).toBe(plaintext);
  }
});

test.skipIf(absent)("[RT-5] reads genuine blobs up to the key, which is another", () => {
  for (const file of [
    "ciphertext-for-recipient-1.ber",
    "ciphertext-for-recipient-2-primitive-content.ber",
  ]) {
    const blob = readFileSync(join(VECTORS, file));
    expect(() => openCiphertextForRecipient(blob, privateKey)).toThrow("a blob for this key");
  }
});

test("[RT-5] opens what the simulator's KMS seals, of every length to two blocks", () => {
  for (let length = 0; length <= 33; length++) {
    const plaintext = random(length);
    expect(hex(openCiphertextForRecipient(seal(plaintext), privateKey))).toBe(hex(plaintext));
  }
});

/** Each rule has numbered vectors of its own, category H; these show them on what the simulator seals. */
test.for([
  { title: "OAEP with SHA-512", from: "0609608648016503040201", to: "0609608648016503040203" },
  { title: "AES-128-CBC", from: "060960864801650304012a", to: "0609608648016503040102" },
  { title: "signed data", from: "06092a864886f70d010703", to: "06092a864886f70d010702" },
  { title: "a missing end of contents", from: /(0000){5}$/, to: "00000000" },
  { title: "an IV of 8 bytes", from: /0410(.{32})a080/, to: "0408$1a080" },
  { title: "bytes left over", from: /$/, to: "00" },
])("[RT-5] refuses $title", ({ from, to }) => {
  const blob = hex(seal(utf8("a data key")));
  const damaged = new Uint8Array(Buffer.from(blob.replace(from, to), "hex"));
  expect(hex(damaged)).not.toBe(blob);
  expect(() => openCiphertextForRecipient(damaged, privateKey)).toThrow(
    expect.objectContaining({ code: "TEE_KMS_MALFORMED" }),
  );
});

test("[RT-5] refuses two recipients", () => {
  const text = hex(seal(utf8("a data key")));
  const start = text.indexOf("3182") + 8;
  const length = Number.parseInt(text.slice(start - 4, start), 16);
  const recipient = text.slice(start, start + 2 * length);
  const twice = `${text.slice(0, start - 4)}${(2 * length).toString(16).padStart(4, "0")}`;
  const doubled = `${twice}${recipient}${recipient}${text.slice(start + 2 * length)}`;
  expect(() => openCiphertextForRecipient(Buffer.from(doubled, "hex"), privateKey)).toThrow(
    "one recipient",
  );
});

test("[RT-5] refuses a blob cut off anywhere", () => {
  const blob = seal(utf8("a data key"));
  for (let bytes = 0; bytes < blob.length; bytes += 7) {
    expect(() => openCiphertextForRecipient(blob.subarray(0, bytes), privateKey)).toThrow(
      expect.objectContaining({ code: "TEE_KMS_MALFORMED" }),
    );
  }
});

test("[RT-5] opens a blob of the largest size, and none a byte larger", () => {
  const envelope = seal(new Uint8Array(0)).length;
  const largest = random(16 * 1024 - envelope - (envelope % 16));
  const blob = seal(largest);
  expect(blob.length).toBeLessThanOrEqual(16 * 1024);
  expect(hex(openCiphertextForRecipient(blob, privateKey))).toBe(hex(largest));
  // The check comes first: what is just small enough is read, and found to be no BER.
  const open = (bytes: number) => () =>
    openCiphertextForRecipient(new Uint8Array(bytes).fill(0x04), privateKey);
  expect(open(16 * 1024)).toThrow("bytes after it");
  expect(open(16 * 1024 + 1)).toThrow("at most 16384 bytes");
});

test("[RT-5] opens a private key of RSA-4096, as a data key pair has it", () => {
  const { privateKey: data } = generateKeyPairSync("ec", { namedCurve: "P-521" });
  const pkcs8 = concat(data.export({ format: "der", type: "pkcs8" }), random(2200));
  expect(hex(openCiphertextForRecipient(seal(pkcs8), privateKey))).toBe(hex(pkcs8));
});

test("[RT-5] hands out a plaintext that nothing else holds", () => {
  const blob = seal(utf8("a data key"));
  const first = openCiphertextForRecipient(blob, privateKey);
  first.fill(0);
  expect(hex(openCiphertextForRecipient(blob, privateKey))).toBe(hex(utf8("a data key")));
});

test("[RT-5] gives one error for a wrong key, a wrong OAEP block and wrong padding", () => {
  const blob = seal(utf8("a data key"));
  const other = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
  const keyAt = hex(blob).indexOf("04820100") / 2 + 4;
  const oaep = blob.with(keyAt + 100, (blob[keyAt + 100] ?? 0) ^ 1);
  const padding = blob.with(blob.length - 11, (blob.at(-11) ?? 0) ^ 1);
  const ivAt = hex(blob).indexOf("0410", 2 * (keyAt + 256)) / 2 + 2;
  const wrongIv = blob.with(ivAt + 15, (blob[ivAt + 15] ?? 0) ^ 0x80);
  const faults = [
    { bytes: blob, key: other },
    { bytes: oaep, key: privateKey },
    { bytes: padding, key: privateKey },
    { bytes: wrongIv, key: privateKey },
  ].map(({ bytes, key }) => {
    try {
      return `opened ${openCiphertextForRecipient(bytes, key).length} bytes`;
    } catch (error) {
      return error instanceof SymphonyError ? `${error.code} ${error.message}` : "another error";
    }
  });
  expect(new Set(faults)).toEqual(
    new Set(["TEE_KMS_MALFORMED cms: expected a blob for this key, got something else"]),
  );
});

test("[RT-5] gives a plaintext or TEE_KMS_MALFORMED for any bytes, and for any damage to a blob", () => {
  const blob = seal(utf8("a data key"));
  const onlyMalformed = (bytes: Uint8Array): boolean => {
    try {
      return openCiphertextForRecipient(bytes, privateKey).length <= bytes.length;
    } catch (error) {
      return error instanceof SymphonyError && error.code === "TEE_KMS_MALFORMED";
    }
  };
  const at = fc.nat({ max: blob.length - 1 });
  const damage = fc.tuple(at, fc.nat({ max: 255 })).map(([index, byte]) => blob.with(index, byte));
  fc.assert(fc.property(damage, onlyMalformed), { numRuns: 150 });
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), onlyMalformed), { numRuns: 150 });
  expect(onlyMalformed(new Uint8Array(16 * 1024).fill(0x30))).toBe(true);
  expect(onlyMalformed(new Uint8Array(16 * 1024).fill(0x80).with(0, 0x30))).toBe(true);
  const nested = Uint8Array.from({ length: 16_000 }, (_, index) => (index % 2 === 0 ? 0x30 : 0x80));
  expect(onlyMalformed(nested)).toBe(true);
  expect(onlyMalformed(new Uint8Array(16 * 1024 + 1))).toBe(true);
});
