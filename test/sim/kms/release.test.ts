import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from "node:crypto";

import {
  CreateKeyCommand,
  DecryptCommand,
  DeriveSharedSecretCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyPairCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GenerateRandomCommand,
  GetPublicKeyCommand,
  type CreateKeyCommandInput,
  type KMSClient,
  type RecipientInfo,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, expect, test } from "vitest";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { hex, utf8 } from "../../../protocol/index.ts";
import { ATTESTED_POLICY, ENCLAVE, IMAGE, KmsRig, NOW, ZEROS, rsa } from "./rig.ts";

const rig = new KmsRig();
const SECRET = utf8("a data key of thirty-two bytes!!");
const PEER = generateKeyPairSync("ec", { namedCurve: "P-384" });
const PEER_SPKI = new Uint8Array(PEER.publicKey.export({ format: "der", type: "spki" }));
let kms: KMSClient;
let keyId = "";
let agreementKeyId = "";
let ciphertext: Uint8Array = new Uint8Array(0);

beforeAll(async () => {
  await rig.start();
  kms = rig.client();
  keyId = await create({});
  agreementKeyId = await create({ KeySpec: "ECC_NIST_P384", KeyUsage: "KEY_AGREEMENT" });
  const encrypted = await kms.send(new EncryptCommand({ KeyId: keyId, Plaintext: SECRET }));
  ciphertext = encrypted.CiphertextBlob ?? ciphertext;
});
afterAll(() => rig.close());

async function create(input: CreateKeyCommandInput): Promise<string> {
  const created = await kms.send(new CreateKeyCommand({ Policy: ATTESTED_POLICY, ...input }));
  return created.KeyMetadata?.KeyId ?? "";
}

/** What each operation releases: the sealed copy and the one that must not be there. */
interface Released {
  readonly CiphertextForRecipient?: Uint8Array | undefined;
  readonly plaintext: Uint8Array | undefined;
}

const OPERATIONS: Readonly<Record<string, (recipient?: RecipientInfo) => Promise<Released>>> = {
  Decrypt: async (recipient) => {
    const command = new DecryptCommand({ CiphertextBlob: ciphertext, ...wrap(recipient) });
    const { Plaintext: plaintext, ...answer } = await kms.send(command);
    return { ...answer, plaintext };
  },
  GenerateDataKey: async (recipient) => {
    const input = { KeyId: keyId, KeySpec: "AES_256", ...wrap(recipient) } as const;
    const { Plaintext: plaintext, ...answer } = await kms.send(new GenerateDataKeyCommand(input));
    return { ...answer, plaintext };
  },
  GenerateDataKeyPair: async (recipient) => {
    const input = { KeyId: keyId, KeyPairSpec: "ECC_NIST_P256", ...wrap(recipient) } as const;
    const answer = await kms.send(new GenerateDataKeyPairCommand(input));
    return { ...answer, plaintext: answer.PrivateKeyPlaintext };
  },
  DeriveSharedSecret: async (recipient) => {
    const input = { KeyId: agreementKeyId, PublicKey: PEER_SPKI, ...wrap(recipient) };
    const command = new DeriveSharedSecretCommand({ KeyAgreementAlgorithm: "ECDH", ...input });
    const answer = await kms.send(command);
    return { ...answer, plaintext: answer.SharedSecret };
  },
};

function wrap(recipient: RecipientInfo | undefined): { Recipient?: RecipientInfo } {
  return recipient === undefined ? {} : { Recipient: recipient };
}

function opened({ CiphertextForRecipient: cms, plaintext }: Released): Uint8Array {
  expect(plaintext).toBeUndefined();
  return openCiphertextForRecipient(cms ?? new Uint8Array(0), ENCLAVE.privateKey);
}

const named = Object.entries(OPERATIONS).map(([operation, call]) => ({ operation, call }));

test.for(named)("[RT-5] $operation releases to the attested image, sealed", async ({ call }) => {
  expect(opened(await call(rig.recipient())).length).toBeGreaterThan(0);
});

test("[RT-5] what the enclave opens is what was encrypted and generated", async () => {
  const decrypted = await OPERATIONS["Decrypt"]?.(rig.recipient());
  expect(decrypted && hex(opened(decrypted))).toBe(hex(SECRET));
  const input = { KeyId: keyId, KeySpec: "AES_256", Recipient: rig.recipient() } as const;
  const generated = await kms.send(new GenerateDataKeyCommand(input));
  const dataKey = opened({ ...generated, plaintext: generated.Plaintext });
  const again = new DecryptCommand({
    CiphertextBlob: generated.CiphertextBlob,
    Recipient: rig.recipient(),
  });
  const { Plaintext: plaintext, ...sealed } = await kms.send(again);
  expect(hex(opened({ ...sealed, plaintext }))).toBe(hex(dataKey));
});

async function agreementWithPublicKey(): Promise<string> {
  const created = await kms.send(
    new CreateKeyCommand({ KeySpec: "ECC_NIST_P384", KeyUsage: "KEY_AGREEMENT" }),
  );
  return created.KeyMetadata?.KeyId ?? "";
}

test("[RT-5] an agreed secret is the one the peer computes", async () => {
  const KeyId = await agreementWithPublicKey();
  const { PublicKey: spki = new Uint8Array(0) } = await kms.send(
    new GetPublicKeyCommand({ KeyId }),
  );
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const expected = diffieHellman({ privateKey: PEER.privateKey, publicKey });
  const input = { KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey: PEER_SPKI } as const;
  const plain = await kms.send(new DeriveSharedSecretCommand(input));
  expect(hex(plain.SharedSecret ?? spki)).toBe(hex(expected));
  const sealed = await kms.send(
    new DeriveSharedSecretCommand({ ...input, Recipient: rig.recipient() }),
  );
  expect(hex(opened({ ...sealed, plaintext: sealed.SharedSecret }))).toBe(hex(expected));
});

test("[RT-5] a sealed RSA-4096 private key of a data key pair belongs to its public key", async () => {
  const answer = await kms.send(
    new GenerateDataKeyPairCommand({
      KeyId: keyId,
      KeyPairSpec: "RSA_4096",
      Recipient: rig.recipient(),
    }),
  );
  const pkcs8 = opened({ ...answer, plaintext: answer.PrivateKeyPlaintext });
  expect(pkcs8.length).toBeGreaterThan(2300);
  const privateKey = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  expect(hex(spki)).toBe(hex(answer.PublicKey ?? new Uint8Array(0)));
  const decrypted = await kms.send(
    new DecryptCommand({
      CiphertextBlob: answer.PrivateKeyCiphertextBlob,
      Recipient: rig.recipient(),
    }),
  );
  expect(hex(opened({ ...decrypted, plaintext: decrypted.Plaintext }))).toBe(hex(pkcs8));
});

test("[RT-5] random bytes are sealed for whom a document names", async () => {
  const answer = await kms.send(
    new GenerateRandomCommand({ NumberOfBytes: 1024, Recipient: rig.recipient() }),
  );
  expect(opened({ ...answer, plaintext: answer.Plaintext })).toHaveLength(1024);
  const stale = rig.recipient({ nowMs: NOW - 360_000 });
  await expect(
    kms.send(new GenerateRandomCommand({ NumberOfBytes: 32, Recipient: stale })),
  ).rejects.toMatchObject({ name: "ValidationException" });
  expect((await kms.send(new GenerateRandomCommand({ NumberOfBytes: 32 }))).Plaintext).toHaveLength(
    32,
  );
});

const EC_SPKI = new Uint8Array(
  generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({
    format: "der",
    type: "spki",
  }),
);
/** A modulus that nobody factors here, or has to: its length is what is refused. */
const RSA_4096 = new Uint8Array(
  createPublicKey({
    key: { kty: "RSA", n: Buffer.alloc(512, 0xd5).toString("base64url"), e: "AQAB" },
    format: "jwk",
  }).export({ format: "der", type: "spki" }),
);
const denied = "AccessDeniedException";
const invalid = "ValidationException";

const REFUSED: readonly { title: string; error: string; recipient: () => RecipientInfo }[] = [
  ...(["pcr0", "pcr1", "pcr2"] as const).map((pcr) => ({
    title: `another ${pcr}`,
    error: denied,
    recipient: () => rig.recipient({ image: { [pcr]: "44".repeat(48) } }),
  })),
  {
    title: "debug mode",
    error: denied,
    recipient: () => rig.recipient({ image: { pcr0: ZEROS, pcr1: ZEROS, pcr2: ZEROS } }),
  },
  {
    title: "one PCR of zeros",
    error: denied,
    recipient: () => rig.recipient({ image: { pcr2: ZEROS } }),
  },
  {
    title: "a document of five minutes and a millisecond",
    error: invalid,
    recipient: () => rig.recipient({ nowMs: NOW - 300_001 }),
  },
  {
    title: "a document of yesterday",
    error: invalid,
    recipient: () => rig.recipient({ nowMs: NOW - 86_400_000 }),
  },
  {
    title: "a document of the future",
    error: invalid,
    recipient: () => rig.recipient({ nowMs: NOW + 30_001 }),
  },
  {
    title: "a document under another root",
    error: invalid,
    recipient: () => rig.recipient({ platform: rig.foreign }),
  },
  { title: "no public key", error: invalid, recipient: () => rig.recipient({ publicKey: null }) },
  {
    title: "an elliptic public key",
    error: invalid,
    recipient: () => rig.recipient({ publicKey: EC_SPKI }),
  },
  {
    title: "a public key that is none",
    error: invalid,
    recipient: () => rig.recipient({ publicKey: utf8("no key") }),
  },
  ...[1024, 3072].map((bits) => ({
    title: `a public key of ${bits} bits`,
    error: invalid,
    recipient: () => rig.recipient({ publicKey: rsa(bits).spki }),
  })),
  {
    title: "a public key of 4096 bits",
    error: invalid,
    recipient: () => rig.recipient({ publicKey: RSA_4096 }),
  },
  {
    title: "a tampered signature",
    error: invalid,
    recipient: () => rig.recipient(flip(rig.document(), -1)),
  },
  {
    title: "a tampered PCR",
    error: invalid,
    recipient: () => {
      const document = rig.document({ image: { pcr0: "44".repeat(48) } });
      return rig.recipient(replaced(document, "44".repeat(48), IMAGE.pcr0));
    },
  },
  {
    title: "a byte after the document",
    error: invalid,
    recipient: () => rig.recipient(new Uint8Array([...rig.document(), 0])),
  },
  { title: "no document at all", error: invalid, recipient: () => rig.recipient(utf8("x")) },
];

function flip(document: Uint8Array, at: number): Uint8Array {
  return document.with(at, (document.at(at) ?? 0) ^ 1);
}

function replaced(bytes: Uint8Array, from: string, to: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex(bytes).replace(from, to), "hex"));
}

test.for(REFUSED)("[RT-5] refuses $title with $error, whatever is asked", async (refused) => {
  const recipient = refused.recipient();
  for (const { call } of named) {
    await expect(call(recipient)).rejects.toMatchObject({
      name: refused.error,
      $metadata: { httpStatusCode: 400 },
    });
  }
});

test.for(named)(
  "[RT-5] $operation gives plaintext to nobody without a document",
  async ({ call }) => {
    await expect(call()).rejects.toMatchObject({ name: denied });
  },
);

test("[RT-5] a release names the attested key: another enclave's key does not open it", async () => {
  const released = await OPERATIONS["Decrypt"]?.(rig.recipient());
  const other = rsa(2048);
  const cms = released?.CiphertextForRecipient ?? new Uint8Array(0);
  expect(() => openCiphertextForRecipient(cms, other.privateKey)).toThrow("a blob for this key");
});

test("data keys and pairs without plaintext carry none", async () => {
  const { KeyMetadata } = await kms.send(new CreateKeyCommand({}));
  const KeyId = KeyMetadata?.KeyId ?? "";
  const bare = await kms.send(
    new GenerateDataKeyWithoutPlaintextCommand({ KeyId, NumberOfBytes: 7 }),
  );
  expect(bare).not.toHaveProperty("Plaintext");
  const { CiphertextBlob } = bare;
  const decrypted = await kms.send(new DecryptCommand({ CiphertextBlob }));
  expect(decrypted.Plaintext).toHaveLength(7);
  const pair = await kms.send(
    new GenerateDataKeyPairWithoutPlaintextCommand({ KeyId, KeyPairSpec: "ECC_NIST_P521" }),
  );
  expect(pair).not.toHaveProperty("PrivateKeyPlaintext");
  const blob = { CiphertextBlob: pair.PrivateKeyCiphertextBlob };
  const { Plaintext: pkcs8 } = await kms.send(new DecryptCommand(blob));
  const key = { key: Buffer.from(pkcs8 ?? []), format: "der", type: "pkcs8" } as const;
  const spki = createPublicKey(createPrivateKey(key)).export({ format: "der", type: "spki" });
  expect(hex(pair.PublicKey ?? new Uint8Array(0))).toBe(hex(spki));
});

test("[RT-5] many at once: each gets its own answer", async () => {
  const secrets = Array.from({ length: 12 }, (_, index) =>
    createHash("sha256").update(`secret ${index}`).digest(),
  );
  const results = await Promise.all(
    secrets.map(async (secret, index) => {
      const client = index % 2 === 0 ? kms : rig.client("another");
      const { CiphertextBlob } = await client.send(
        new EncryptCommand({ KeyId: keyId, Plaintext: secret }),
      );
      const answer = await client.send(
        new DecryptCommand({ CiphertextBlob, Recipient: rig.recipient() }),
      );
      return hex(opened({ ...answer, plaintext: answer.Plaintext }));
    }),
  );
  expect(results).toEqual(secrets.map((secret) => hex(secret)));
});
