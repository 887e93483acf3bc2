import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import type { TrustAnchor } from "../../../attestation/index.ts";
import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { createKms, recipientKeyPolicy, type Kms } from "../../../host/adapters/kms.ts";
import { decodeHardwareCbor } from "../../../attestation/index.ts";
import { encodeCbor, fromHex, hex, utf8 } from "../../../protocol/index.ts";
import { startInsecureKms, type InsecureKms } from "../../../sim/kms/server.ts";
import { InsecureSimNsm } from "../../../sim/nsm.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../../sim/platform.ts";

const CREDENTIALS = { accessKeyId: "SIMULATED", secretAccessKey: "SIMULATED" };
const NOW = 1_790_000_000_000;
const IMAGE = { pcr0: "11".repeat(48), pcr1: "22".repeat(48), pcr2: "33".repeat(48) };
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const spki = publicKey.export({ format: "der", type: "spki" });

let directory = "";
let platform: InsecureSimPlatform;
let foreign: InsecureSimPlatform;
let server: InsecureKms;
let kms: Kms;
let keyId = "";

const connect = (endpoint: string): Kms =>
  createKms({ region: "sim-local-1", endpoint, credentials: CREDENTIALS, deadlineMs: 5000 });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "symphony-kms-"));
  platform = createInsecureSimPlatform(join(directory, "platform"));
  foreign = createInsecureSimPlatform(join(directory, "foreign"));
  server = await start();
  kms = connect(server.endpoint);
  keyId = await kms.createKey(recipientKeyPolicy("*", [IMAGE]));
});

afterAll(async () => {
  kms.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(): Promise<InsecureKms> {
  const anchors: readonly TrustAnchor[] = [platform.anchor];
  const folder = join(directory, "keys");
  return startInsecureKms({ directory: folder, anchors, port: 0, nowMs: () => NOW });
}

interface DocumentOptions {
  readonly platform?: InsecureSimPlatform;
  readonly image?: { pcr0: string; pcr1: string; pcr2: string };
  readonly publicKey?: Uint8Array | null;
  readonly nowMs?: number;
}

function documentOf(options: DocumentOptions = {}): Uint8Array {
  const { pcr0, pcr1, pcr2 } = options.image ?? IMAGE;
  const signer = options.platform ?? platform;
  const nsm = new InsecureSimNsm({
    platform: signer,
    moduleId: signer.moduleId(randomBytes(8)),
    nowMs: () => options.nowMs ?? NOW,
    random: randomBytes,
    pcrs: new Map([
      [0, fromHex(pcr0)],
      [1, fromHex(pcr1)],
      [2, fromHex(pcr2)],
    ]),
  });
  const given = options.publicKey === undefined ? new Uint8Array(spki) : options.publicKey;
  const request = { Attestation: { nonce: null, user_data: null, public_key: given } };
  const answer = decodeHardwareCbor(nsm.handle(encodeCbor(request)), 0x3000);
  const fields: unknown = answer instanceof Map ? answer.get("Attestation") : null;
  const document: unknown = fields instanceof Map ? fields.get("document") : null;
  if (!(document instanceof Uint8Array)) throw new Error("no document");
  return document;
}

test("[RT-5] releases a key to the attested enclave, as CMS that only it opens", async () => {
  const secret = utf8("a data key of thirty-two bytes!!");
  const ciphertext = await kms.encrypt(keyId, secret);
  expect(hex(ciphertext)).not.toContain(hex(secret));
  const cms = await kms.decryptForRecipient(keyId, ciphertext, documentOf());
  expect(hex(cms)).not.toContain(hex(secret));
  expect(hex(openCiphertextForRecipient(cms, privateKey))).toBe(hex(secret));
});

const EC = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey;
const RSA_3072 = generateKeyPairSync("rsa", { modulusLength: 3072 }).publicKey;

test.for<{ title: string; reason?: string; make: () => Uint8Array }>([
  {
    title: "another PCR0",
    reason: "AccessDeniedException",
    make: () => documentOf({ image: { ...IMAGE, pcr0: "44".repeat(48) } }),
  },
  {
    title: "another PCR1",
    reason: "AccessDeniedException",
    make: () => documentOf({ image: { ...IMAGE, pcr1: "44".repeat(48) } }),
  },
  {
    title: "another PCR2",
    reason: "AccessDeniedException",
    make: () => documentOf({ image: { ...IMAGE, pcr2: "44".repeat(48) } }),
  },
  {
    title: "debug mode",
    reason: "AccessDeniedException",
    make: () =>
      documentOf({
        image: { pcr0: "00".repeat(48), pcr1: "00".repeat(48), pcr2: "00".repeat(48) },
      }),
  },
  { title: "another root", make: () => documentOf({ platform: foreign }) },
  { title: "no public key", make: () => documentOf({ publicKey: null }) },
  {
    title: "an elliptic public key",
    make: () => documentOf({ publicKey: EC.export({ format: "der", type: "spki" }) }),
  },
  {
    title: "a longer RSA key",
    make: () => documentOf({ publicKey: RSA_3072.export({ format: "der", type: "spki" }) }),
  },
  { title: "a document six minutes old", make: () => documentOf({ nowMs: NOW - 360_000 }) },
  { title: "a document of tomorrow", make: () => documentOf({ nowMs: NOW + 60_000 }) },
  { title: "one bit changed", make: () => flip(documentOf()) },
  { title: "no document", make: () => new Uint8Array(0) },
])(
  "[RT-5] releases nothing to an enclave with $title",
  async ({ make, reason = "ValidationException" }) => {
    const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
    await expect(kms.decryptForRecipient(keyId, ciphertext, make())).rejects.toMatchObject({
      code: "TEE_KMS_REFUSED",
      details: { reason },
    });
  },
);

function flip(document: Uint8Array): Uint8Array {
  return document.with(-1, (document.at(-1) ?? 0) ^ 1);
}

test("[RT-5] gives plaintext to nobody without attestation", async () => {
  const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
  const body = { KeyId: keyId, CiphertextBlob: Buffer.from(ciphertext).toString("base64") };
  const response = await post("Decrypt", body);
  expect(response).toEqual({ status: 400, body: expect.anything() });
  expect(response.body).toMatchObject({ __type: "AccessDeniedException" });
});

async function post(operation: string, body: object): Promise<{ status: number; body: unknown }> {
  const response = await fetch(server.endpoint, {
    method: "POST",
    headers: { "x-amz-target": `TrentService.${operation}` },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

test("refuses a damaged ciphertext, an unknown key, another key and an unknown operation", async () => {
  const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
  const other = await kms.createKey(recipientKeyPolicy("*", [IMAGE]));
  const refused = { code: "TEE_KMS_REFUSED" };
  const document = documentOf();
  const release = (key: string, bytes: Uint8Array): Promise<Uint8Array> =>
    kms.decryptForRecipient(key, bytes, document);
  await expect(release(keyId, flip(ciphertext))).rejects.toMatchObject(refused);
  await expect(release(other, ciphertext)).rejects.toMatchObject(refused);
  await expect(release("no-such-key", ciphertext)).rejects.toMatchObject(refused);
  await expect(kms.createKey("{}")).rejects.toMatchObject(refused);
  expect((await post("Sign", {})).body).toMatchObject({ __type: "UnknownOperationException" });
});

test("[RT-5] refuses an answer that carries plaintext beside the recipient's ciphertext", async () => {
  const body = JSON.stringify({
    Plaintext: Buffer.from("leaked").toString("base64"),
    CiphertextForRecipient: Buffer.from("cms").toString("base64"),
  });
  const impostor = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/x-amz-json-1.1" }).end(body);
  });
  await new Promise<void>((resolve) => void impostor.listen(0, "127.0.0.1", resolve));
  const address = impostor.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const client = connect(`http://127.0.0.1:${port}`);
  const answer = client.decryptForRecipient(keyId, utf8("x"), utf8("y"));
  await expect(answer).rejects.toMatchObject({ code: "TEE_KMS_MALFORMED" });
  client.close();
  impostor.close();
  impostor.closeAllConnections();
});

test("answers what is no request of its protocol with an error of AWS's naming", async () => {
  const send = async (init: RequestInit): Promise<unknown> =>
    (await fetch(server.endpoint, init)).json();
  const target = { "x-amz-target": "TrentService.Decrypt" };
  const answers = [
    await send({ method: "GET" }),
    await send({ method: "POST", headers: { "x-amz-target": "Other.Decrypt" }, body: "{}" }),
    await send({ method: "POST", headers: target, body: "{" }),
    await send({ method: "POST", headers: target, body: JSON.stringify({ Ciphertext: "" }) }),
    await send({ method: "POST", headers: target, body: "x".repeat(600_000) }),
  ];
  expect(answers).toMatchObject([
    { __type: "UnknownOperationException" },
    { __type: "UnknownOperationException" },
    { __type: "SerializationException" },
    { __type: "ValidationException" },
    { __type: "ValidationException" },
  ]);
});

test("says that a key service is unavailable", async () => {
  const client = connect("http://127.0.0.1:1");
  await expect(client.encrypt(keyId, utf8("x"))).rejects.toMatchObject({
    code: "TEE_KMS_UNAVAILABLE",
  });
  client.close();
});

test("keeps its keys, readable by their owner only", async () => {
  const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
  const again = await start();
  const client = connect(again.endpoint);
  const cms = await client.decryptForRecipient(keyId, ciphertext, documentOf());
  expect(hex(openCiphertextForRecipient(cms, privateKey))).toBe(hex(utf8("a data key")));
  client.close();
  await again.close();
  const names = readdirSync(join(directory, "keys"));
  expect(names.length).toBeGreaterThan(0);
  for (const name of names) {
    expect(statSync(join(directory, "keys", name)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(directory, "keys", name), "utf8")).toContain("SIMULATED");
  }
});

test("[RT-5] seals data keys and random bytes to the recipient too", async () => {
  const Recipient = {
    KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256",
    AttestationDocument: Buffer.from(documentOf()).toString("base64"),
  };
  const requests = [
    { operation: "GenerateDataKey", body: { KeyId: keyId, KeySpec: "AES_256", Recipient } },
    { operation: "GenerateRandom", body: { NumberOfBytes: 32, Recipient } },
  ];
  for (const { operation, body } of requests) {
    const response = await post(operation, body);
    expect(response).toMatchObject({ status: 200 });
    expect(response.body).not.toHaveProperty("Plaintext");
    expect(response.body).toHaveProperty("CiphertextForRecipient");
  }
});
