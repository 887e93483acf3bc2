import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";

import { afterAll, beforeAll, expect, test } from "vitest";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { createKms, recipientKeyPolicy, type Kms } from "../../../host/adapters/kms.ts";
import { hex, utf8 } from "../../../protocol/index.ts";
import { ENCLAVE, IMAGE, KmsRig, NOW } from "../../sim/kms/rig.ts";

const rig = new KmsRig();
const POLICY = recipientKeyPolicy("*", [IMAGE]);
let kms: Kms;
let keyId = "";

const connect = (endpoint: string): Kms =>
  createKms({
    region: "sim-local-1",
    endpoint,
    credentials: { accessKeyId: "SIMULATED", secretAccessKey: "SIMULATED" },
    deadlineMs: 5000,
  });

beforeAll(async () => {
  await rig.start();
  kms = connect(rig.endpoint);
  keyId = await kms.createKey(POLICY);
});

afterAll(async () => {
  kms.close();
  await rig.close();
});

const open = (cms: Uint8Array): Uint8Array => openCiphertextForRecipient(cms, ENCLAVE.privateKey);
const refused = (reason: string) => ({ code: "TEE_KMS_REFUSED", details: { reason } });

test("[RT-5] releases a key to the attested enclave, as CMS that only it opens", async () => {
  const secret = utf8("a data key of thirty-two bytes!!");
  const ciphertext = await kms.encrypt(keyId, secret);
  expect(hex(ciphertext)).not.toContain(hex(secret));
  const cms = await kms.decryptForRecipient(keyId, ciphertext, rig.document());
  expect(hex(cms)).not.toContain(hex(secret));
  expect(hex(open(cms))).toBe(hex(secret));
});

test("[RT-5] generates a data key that only the enclave and the service can open", async () => {
  const { ciphertext, cms } = await kms.generateDataKeyForRecipient(keyId, rig.document());
  const dataKey = open(cms);
  expect(dataKey).toHaveLength(32);
  const again = await kms.decryptForRecipient(keyId, ciphertext, rig.document());
  expect(hex(open(again))).toBe(hex(dataKey));
});

/** A policy for what `recipientKeyPolicy` does not give, because Symphony does not use it. */
const MORE = JSON.stringify({
  Version: "2012-10-17",
  Statement: [
    { Effect: "Allow", Principal: "*", Action: "kms:PutKeyPolicy", Resource: "*" },
    {
      Effect: "Allow",
      Principal: "*",
      Action: ["kms:GenerateDataKeyPair", "kms:Decrypt"],
      Resource: "*",
      Condition: { StringEquals: { "kms:RecipientAttestation:PCR0": IMAGE.pcr0 } },
    },
  ],
});

test("[RT-5] generates a key pair whose private half only the enclave can open", async () => {
  const key = await kms.createKey(MORE);
  const pair = await kms.generateDataKeyPairForRecipient(key, "ECC_NIST_P384", rig.document());
  const pkcs8 = { key: Buffer.from(open(pair.cms)), format: "der", type: "pkcs8" } as const;
  const spki = createPublicKey(createPrivateKey(pkcs8)).export({ format: "der", type: "spki" });
  expect(hex(pair.publicKey.spki)).toBe(hex(spki));
  const again = await kms.decryptForRecipient(key, pair.ciphertext, rig.document());
  expect(hex(open(again))).toBe(pkcs8.key.toString("hex"));
});

test("[RT-5] gets random bytes that only the enclave can open", async () => {
  const cms = await kms.generateRandomForRecipient(48, rig.document());
  expect(open(cms)).toHaveLength(48);
  const stale = kms.generateRandomForRecipient(48, rig.document({ nowMs: NOW - 360_000 }));
  await expect(stale).rejects.toMatchObject(refused("ValidationException"));
});

test("[RT-5] asks for an agreed secret, and says why it is refused", async () => {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  const derived = kms.deriveSharedSecretForRecipient(keyId, { spki }, rig.document());
  await expect(derived).rejects.toMatchObject(refused("AccessDeniedException"));
});

test.for([
  { title: "another PCR0", image: { pcr0: "44".repeat(48) } },
  { title: "another PCR1", image: { pcr1: "44".repeat(48) } },
  { title: "another PCR2", image: { pcr2: "44".repeat(48) } },
])("[RT-5] its key policy releases nothing to an enclave with $title", async ({ image }) => {
  const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
  const release = kms.decryptForRecipient(keyId, ciphertext, rig.document({ image }));
  await expect(release).rejects.toMatchObject(refused("AccessDeniedException"));
  const made = kms.generateDataKeyForRecipient(keyId, rig.document({ image }));
  await expect(made).rejects.toMatchObject(refused("AccessDeniedException"));
});

test("has no key policy for no measurement", () => {
  expect(() => recipientKeyPolicy("*", [])).toThrow(
    expect.objectContaining({ code: "TEE_POLICY_EMPTY" }),
  );
});

test("says what the service refused, by its name", async () => {
  const ciphertext = await kms.encrypt(keyId, utf8("a data key"));
  const other = await kms.createKey(POLICY);
  const document = rig.document();
  const damaged = ciphertext.with(-1, (ciphertext.at(-1) ?? 0) ^ 1);
  const release = (key: string, bytes: Uint8Array): Promise<Uint8Array> =>
    kms.decryptForRecipient(key, bytes, document);
  await expect(release(keyId, damaged)).rejects.toMatchObject(
    refused("InvalidCiphertextException"),
  );
  await expect(release(other, ciphertext)).rejects.toMatchObject(refused("IncorrectKeyException"));
  await expect(release("none", ciphertext)).rejects.toMatchObject(refused("NotFoundException"));
  await expect(kms.createKey("{}")).rejects.toMatchObject(
    refused("MalformedPolicyDocumentException"),
  );
});

/** A service that answers everything with `body`. */
async function answering<T>(body: object, use: (client: Kms) => Promise<T>): Promise<T> {
  const encoded = Object.entries(body).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value,
  ]);
  const impostor = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/x-amz-json-1.1" });
    response.end(JSON.stringify(Object.fromEntries(encoded)));
  });
  await new Promise<void>((resolve) => void impostor.listen(0, "127.0.0.1", resolve));
  const address = impostor.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const client = connect(`http://127.0.0.1:${port}`);
  try {
    return await use(client);
  } finally {
    client.close();
    impostor.close();
    impostor.closeAllConnections();
  }
}

const KEY = { spki: utf8("spki") };
const CALLS: readonly {
  operation: string;
  plaintext: string;
  call: (client: Kms) => Promise<unknown>;
}[] = [
  {
    operation: "Decrypt",
    plaintext: "Plaintext",
    call: (client) => client.decryptForRecipient("k", utf8("x"), utf8("y")),
  },
  {
    operation: "GenerateDataKey",
    plaintext: "Plaintext",
    call: (client) => client.generateDataKeyForRecipient("k", utf8("y")),
  },
  {
    operation: "GenerateDataKeyPair",
    plaintext: "PrivateKeyPlaintext",
    call: (client) => client.generateDataKeyPairForRecipient("k", "RSA_2048", utf8("y")),
  },
  {
    operation: "GenerateRandom",
    plaintext: "Plaintext",
    call: (client) => client.generateRandomForRecipient(32, utf8("y")),
  },
  {
    operation: "DeriveSharedSecret",
    plaintext: "SharedSecret",
    call: (client) => client.deriveSharedSecretForRecipient("k", KEY, utf8("y")),
  },
];
const WHOLE = {
  CiphertextForRecipient: utf8("cms"),
  CiphertextBlob: utf8("blob"),
  PrivateKeyCiphertextBlob: utf8("blob"),
  PublicKey: utf8("spki"),
};

test.for(CALLS)("[RT-5] $operation refuses $plaintext beside the sealed copy", async (each) => {
  const malformed = { code: "TEE_KMS_MALFORMED" };
  await answering(WHOLE, async (client) => {
    expect(await each.call(client)).toBeDefined();
  });
  for (const body of [
    { ...WHOLE, [each.plaintext]: utf8("leaked") },
    { ...WHOLE, CiphertextForRecipient: utf8("") },
    { ...WHOLE, CiphertextForRecipient: new Uint8Array(16 * 1024 + 1) },
    {},
  ]) {
    await answering(body, async (client) => {
      await expect(each.call(client)).rejects.toMatchObject(malformed);
    });
  }
});

test("[RT-5] an empty plaintext beside the sealed copy is none", async () => {
  await answering({ ...WHOLE, Plaintext: utf8("") }, async (client) => {
    expect(hex(await client.generateRandomForRecipient(1, utf8("y")))).toBe(hex(utf8("cms")));
  });
});

test("says that a key service is unavailable", async () => {
  const client = connect("http://127.0.0.1:1");
  await expect(client.encrypt(keyId, utf8("x"))).rejects.toMatchObject({
    code: "TEE_KMS_UNAVAILABLE",
  });
  client.close();
});
