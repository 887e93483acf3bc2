import {
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DeriveSharedSecretCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GetKeyPolicyCommand,
  GetPublicKeyCommand,
  ListKeysCommand,
  PutKeyPolicyCommand,
  ScheduleKeyDeletionCommand,
  type CreateKeyCommandInput,
  type KMSClient,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, expect, test } from "vitest";

import { hex, utf8 } from "../../../protocol/index.ts";
import { ACCOUNT, ATTESTED_POLICY, IMAGE, KmsRig, NOW, policyOf } from "./rig.ts";

const rig = new KmsRig();
const DAY = 86_400_000;
let kms: KMSClient;
let nowMs = NOW;

beforeAll(async () => {
  await rig.start({ nowMs: () => nowMs });
  kms = rig.client();
});
afterAll(() => rig.close());

async function create(input: CreateKeyCommandInput = {}, client = kms): Promise<string> {
  const { KeyMetadata } = await client.send(new CreateKeyCommand(input));
  return KeyMetadata?.KeyId ?? "";
}

const named = (name: string) => ({ name, $metadata: { httpStatusCode: 400 } });
const DENIED = named("AccessDeniedException");
const INVALID = named("ValidationException");
const MALFORMED = named("MalformedPolicyDocumentException");
const plain = (KeyId: string) => new EncryptCommand({ KeyId, Plaintext: utf8("plain") });

test("[RT-5] creates, describes and lists keys as KMS does", async () => {
  const { KeyMetadata: made } = await kms.send(new CreateKeyCommand({ Description: "mine" }));
  expect(made).toMatchObject({
    AWSAccountId: ACCOUNT,
    Description: "mine",
    Enabled: true,
    KeySpec: "SYMMETRIC_DEFAULT",
    KeyState: "Enabled",
    KeyUsage: "ENCRYPT_DECRYPT",
    EncryptionAlgorithms: ["SYMMETRIC_DEFAULT"],
    CreationDate: new Date(NOW),
  });
  const KeyId = made?.Arn ?? "";
  expect(KeyId).toBe(`arn:aws:kms:sim-local-1:${ACCOUNT}:key/${made?.KeyId}`);
  const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }));
  expect(KeyMetadata).toEqual(made);
  const others = [await create(), await create()];
  const first = await kms.send(new ListKeysCommand({ Limit: 2 }));
  expect(first).toMatchObject({ Truncated: true, Keys: { length: 2 } });
  const rest = await kms.send(new ListKeysCommand({ Marker: first.NextMarker }));
  const ids = [...(first.Keys ?? []), ...(rest.Keys ?? [])].map((key) => key.KeyId);
  expect(rest.Truncated).toBe(false);
  expect(ids).toEqual(expect.arrayContaining([made?.KeyId, ...others]));
  expect(new Set(ids).size).toBe(ids.length);
});

test("asymmetric keys encrypt and agree, each with its own public half", async () => {
  const rsa = await create({ KeySpec: "RSA_2048" });
  const input = { KeyId: rsa, EncryptionAlgorithm: "RSAES_OAEP_SHA_256" } as const;
  const { CiphertextBlob } = await kms.send(
    new EncryptCommand({ ...input, Plaintext: utf8("plain") }),
  );
  const { Plaintext } = await kms.send(new DecryptCommand({ ...input, CiphertextBlob }));
  expect(hex(Plaintext ?? utf8(""))).toBe(hex(utf8("plain")));
  expect(await kms.send(new GetPublicKeyCommand({ KeyId: rsa }))).toMatchObject({
    KeySpec: "RSA_2048",
    EncryptionAlgorithms: ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"],
  });
  const wrong = { ...input, CiphertextBlob, EncryptionAlgorithm: "RSAES_OAEP_SHA_1" } as const;
  await expect(kms.send(new DecryptCommand(wrong))).rejects.toMatchObject(
    named("InvalidCiphertextException"),
  );
  await expect(
    kms.send(new DecryptCommand({ CiphertextBlob, EncryptionAlgorithm: "RSAES_OAEP_SHA_256" })),
  ).rejects.toMatchObject(INVALID);
  await expect(kms.send(plain(rsa))).rejects.toMatchObject(named("InvalidKeyUsageException"));
  await expect(
    kms.send(new EncryptCommand({ ...input, Plaintext: new Uint8Array(191) })),
  ).rejects.toMatchObject(INVALID);
  const curve = await create({ KeySpec: "ECC_NIST_P256", KeyUsage: "KEY_AGREEMENT" });
  expect(await kms.send(new GetPublicKeyCommand({ KeyId: curve }))).toMatchObject({
    KeyUsage: "KEY_AGREEMENT",
    KeyAgreementAlgorithms: ["ECDH"],
  });
});

test.for<{ title: string; error: string; input: object }>([
  {
    title: "a curve for encryption",
    error: "ValidationException",
    input: { KeySpec: "ECC_NIST_P256" },
  },
  {
    title: "a symmetric key for agreement",
    error: "ValidationException",
    input: { KeyUsage: "KEY_AGREEMENT" },
  },
  {
    title: "a key for signing",
    error: "UnsupportedOperationException",
    input: { KeySpec: "RSA_2048", KeyUsage: "SIGN_VERIFY" },
  },
  { title: "an unknown spec", error: "ValidationException", input: { KeySpec: "RSA_512" } },
  { title: "imported material", error: "ValidationException", input: { Origin: "EXTERNAL" } },
  {
    title: "a policy that is none",
    error: "MalformedPolicyDocumentException",
    input: { Policy: "{" },
  },
  {
    title: "a policy of another shape",
    error: "MalformedPolicyDocumentException",
    input: { Policy: '{"Version":"2012-10-17","Statement":[]}' },
  },
  {
    title: "a principal that is none",
    error: "MalformedPolicyDocumentException",
    input: { Policy: policyOf({}, { Principal: { AWS: "alice" } }) },
  },
  {
    title: "an operator that is none",
    error: "MalformedPolicyDocumentException",
    input: { Policy: policyOf({}, { Condition: { StringMatches: { "aws:x": "y" } } }) },
  },
  {
    title: "a policy that is too long",
    error: "LimitExceededException",
    input: { Policy: policyOf({ Sid: "x".repeat(33_000) }) },
  },
  {
    title: "a policy that locks its author out",
    error: "MalformedPolicyDocumentException",
    input: { Policy: policyOf({ Action: "kms:Decrypt" }) },
  },
])("CreateKey refuses $title with $error", async ({ error, input }) => {
  await expect(create(input)).rejects.toMatchObject(named(error));
});

test("a policy may lock its author out when that is said to be meant", async () => {
  const Policy = policyOf({ Action: ["kms:Encrypt", "kms:GetKeyPolicy"] });
  const KeyId = await create({ Policy, BypassPolicyLockoutSafetyCheck: true });
  const stored = await kms.send(new GetKeyPolicyCommand({ KeyId }));
  expect(stored).toMatchObject({ Policy, PolicyName: "default" });
  const put = new PutKeyPolicyCommand({ KeyId, Policy: policyOf({}) });
  await expect(kms.send(put)).rejects.toMatchObject(DENIED);
});

test("[RT-5] PutKeyPolicy counts from the next request, and not when it is refused", async () => {
  const KeyId = await create();
  const { CiphertextBlob } = await kms.send(plain(KeyId));
  const decrypt = new DecryptCommand({ CiphertextBlob });
  expect(await kms.send(decrypt)).toHaveProperty("Plaintext");
  const lockedOut = new PutKeyPolicyCommand({ KeyId, Policy: policyOf({ Action: "kms:Encrypt" }) });
  await expect(kms.send(lockedOut)).rejects.toMatchObject(MALFORMED);
  expect(await kms.send(decrypt)).toHaveProperty("Plaintext");
  await kms.send(new PutKeyPolicyCommand({ KeyId, Policy: ATTESTED_POLICY }));
  await expect(kms.send(decrypt)).rejects.toMatchObject(DENIED);
  const attested = new DecryptCommand({ CiphertextBlob, Recipient: rig.recipient() });
  expect(await kms.send(attested)).toHaveProperty("CiphertextForRecipient");
});

test("[RT-5] a policy is judged for the user that the access key id names", async () => {
  const user = (name: string) => ({ AWS: `arn:aws:iam::${ACCOUNT}:user/${name}` });
  const Policy = policyOf(
    { Principal: user("admin") },
    { Principal: user("bob"), Action: "kms:Encrypt" },
    { Effect: "Deny", Principal: user("mallory"), Action: "kms:*" },
    { Principal: "*", Action: "kms:DescribeKey" },
  );
  const admin = rig.client("admin");
  const KeyId = await create({ Policy }, admin);
  const { CiphertextBlob } = await rig.client("bob").send(plain(KeyId));
  const decrypt = new DecryptCommand({ CiphertextBlob });
  expect(await admin.send(decrypt)).toHaveProperty("Plaintext");
  await expect(rig.client("bob").send(decrypt)).rejects.toMatchObject(DENIED);
  const describe = new DescribeKeyCommand({ KeyId });
  expect(await rig.client("eve").send(describe)).toHaveProperty("KeyMetadata");
  await expect(rig.client("mallory").send(describe)).rejects.toMatchObject(DENIED);
});

test("[RT-5] an encryption context is authenticated, and policies can ask for it", async () => {
  const Condition = { StringEquals: { "kms:EncryptionContext:Vault": "north" } };
  const Policy = policyOf(
    { Action: "kms:PutKeyPolicy" },
    { Action: ["kms:Encrypt", "kms:Decrypt"], Condition },
  );
  const KeyId = await create({ Policy });
  const EncryptionContext = { Vault: "north" };
  const Plaintext = utf8("plain");
  await expect(kms.send(plain(KeyId))).rejects.toMatchObject(DENIED);
  const { CiphertextBlob } = await kms.send(
    new EncryptCommand({ KeyId, Plaintext, EncryptionContext }),
  );
  expect(await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext }))).toHaveProperty(
    "Plaintext",
  );
  const more = { ...EncryptionContext, more: "x" };
  await expect(
    kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: more })),
  ).rejects.toMatchObject(named("InvalidCiphertextException"));
});

test("[RT-5] a condition that nothing through a service fulfils is not fulfilled", async () => {
  const Condition = { StringEquals: { "kms:ViaService": "s3.sim-local-1.amazonaws.com" } };
  const Policy = policyOf({ Action: "kms:PutKeyPolicy" }, { Condition });
  await expect(kms.send(plain(await create({ Policy })))).rejects.toMatchObject(DENIED);
});

test.for<{ title: string; condition: object; released: boolean }>([
  {
    title: "one of several images",
    condition: { StringEquals: { "kms:RecipientAttestation:PCR0": ["00".repeat(48), IMAGE.pcr0] } },
    released: true,
  },
  {
    title: "a pattern",
    condition: { StringLike: { "kms:RecipientAttestation:ImageSha384": "11*" } },
    released: true,
  },
  {
    title: "any document",
    condition: { Null: { "kms:RecipientAttestation:PCR0": "false" } },
    released: true,
  },
  {
    title: "a PCR that documents do not list",
    condition: { StringEquals: { "kms:RecipientAttestation:PCR20": "00".repeat(48) } },
    released: false,
  },
  {
    title: "no document",
    condition: { Null: { "kms:RecipientAttestation:PCR0": "true" } },
    released: false,
  },
  {
    title: "an operator the simulator does not judge",
    condition: { NumericEquals: { "kms:RecipientAttestation:PCR0": "1" } },
    released: false,
  },
  {
    title: "IfExists of another image",
    condition: { StringEqualsIfExists: { "kms:RecipientAttestation:PCR0": "44".repeat(48) } },
    released: false,
  },
])("[RT-5] a policy that asks for $title: $released", async ({ condition, released }) => {
  const Policy = policyOf(
    { Action: "kms:PutKeyPolicy" },
    { Action: "kms:GenerateDataKey", Condition: condition },
  );
  const KeyId = await create({ Policy });
  const command = new GenerateDataKeyCommand({
    KeyId,
    KeySpec: "AES_256",
    Recipient: rig.recipient(),
  });
  if (released) expect(await kms.send(command)).toHaveProperty("CiphertextForRecipient");
  else await expect(kms.send(command)).rejects.toMatchObject(DENIED);
});

test("[RT-5] a debug enclave fulfils no condition, not even one that lists zeros", async () => {
  const zeros = "00".repeat(48);
  const Condition = { StringEquals: { "kms:RecipientAttestation:PCR0": [zeros, IMAGE.pcr0] } };
  const Policy = policyOf({ Action: "kms:PutKeyPolicy" }, { Condition });
  const KeyId = await create({ Policy });
  const image = { pcr0: zeros, pcr1: zeros, pcr2: zeros };
  const Recipient = rig.recipient({ image });
  const command = new GenerateDataKeyCommand({ KeyId, KeySpec: "AES_256", Recipient });
  await expect(kms.send(command)).rejects.toMatchObject(DENIED);
});

test("a disabled key does nothing until it is enabled again", async () => {
  const KeyId = await create();
  const { CiphertextBlob } = await kms.send(plain(KeyId));
  await kms.send(new DisableKeyCommand({ KeyId }));
  const { KeyMetadata } = await kms.send(new DescribeKeyCommand({ KeyId }));
  expect(KeyMetadata).toMatchObject({ KeyState: "Disabled", Enabled: false });
  await expect(kms.send(plain(KeyId))).rejects.toMatchObject(named("DisabledException"));
  await expect(
    kms.send(new GenerateDataKeyCommand({ KeyId, NumberOfBytes: 8 })),
  ).rejects.toMatchObject(named("DisabledException"));
  await expect(kms.send(new DecryptCommand({ CiphertextBlob }))).rejects.toMatchObject(
    named("DisabledException"),
  );
  await kms.send(new EnableKeyCommand({ KeyId }));
  expect(await kms.send(new DecryptCommand({ CiphertextBlob }))).toHaveProperty("Plaintext");
});

test("a key pending deletion does nothing, and is gone when its time is over", async () => {
  const KeyId = await create();
  const schedule = new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 });
  expect(await kms.send(schedule)).toMatchObject({
    KeyState: "PendingDeletion",
    DeletionDate: new Date(NOW + 7 * DAY),
  });
  const state = named("KMSInvalidStateException");
  await expect(kms.send(plain(KeyId))).rejects.toMatchObject(state);
  await expect(kms.send(new EnableKeyCommand({ KeyId }))).rejects.toMatchObject(state);
  await expect(kms.send(schedule)).rejects.toMatchObject(state);
  nowMs = NOW + 7 * DAY;
  await expect(kms.send(new DescribeKeyCommand({ KeyId }))).rejects.toMatchObject(
    named("NotFoundException"),
  );
  nowMs = NOW;
  await expect(kms.send(plain(KeyId))).rejects.toMatchObject(named("NotFoundException"));
});

test("refuses what is no key, no ciphertext, and another key's", async () => {
  const [KeyId, other] = [await create(), await create()];
  const { CiphertextBlob = utf8("") } = await kms.send(plain(KeyId));
  const absent = "12345678-1234-1234-1234-123456789012";
  const foreign = ["sim-local-1:111122223333", `eu-west-1:${ACCOUNT}`].map(
    (place) => `arn:aws:kms:${place}:key/${KeyId}`,
  );
  const local = `arn:aws:kms:sim-local-1:${ACCOUNT}:key/`;
  await expect(kms.send(plain(`${local}${KeyId}`))).resolves.toHaveProperty("CiphertextBlob");
  for (const id of ["none", "../key", absent, `${local}${absent}`, `key/${KeyId}`, ...foreign]) {
    await expect(kms.send(plain(id))).rejects.toMatchObject(named("NotFoundException"));
  }
  const damaged = CiphertextBlob.with(-1, (CiphertextBlob.at(-1) ?? 0) ^ 1);
  for (const blob of [damaged, CiphertextBlob.subarray(1), utf8("x")]) {
    await expect(kms.send(new DecryptCommand({ CiphertextBlob: blob }))).rejects.toMatchObject(
      named("InvalidCiphertextException"),
    );
  }
  const crossed = new DecryptCommand({ CiphertextBlob, KeyId: other });
  await expect(kms.send(crossed)).rejects.toMatchObject(named("IncorrectKeyException"));
  const agree = new DeriveSharedSecretCommand({
    KeyId,
    KeyAgreementAlgorithm: "ECDH",
    PublicKey: utf8("x"),
  });
  await expect(kms.send(agree)).rejects.toMatchObject(named("InvalidKeyUsageException"));
  const curve = await create({ KeySpec: "ECC_NIST_P256", KeyUsage: "KEY_AGREEMENT" });
  const nothing = { KeyId: curve, KeyAgreementAlgorithm: "ECDH", PublicKey: utf8("x") } as const;
  await expect(kms.send(new DeriveSharedSecretCommand(nothing))).rejects.toMatchObject(INVALID);
  await expect(kms.send(new GetPublicKeyCommand({ KeyId }))).rejects.toMatchObject(
    named("UnsupportedOperationException"),
  );
  const rsa = await create({ KeySpec: "RSA_2048" });
  await expect(
    kms.send(new GenerateDataKeyCommand({ KeyId: rsa, KeySpec: "AES_256" })),
  ).rejects.toMatchObject(named("UnsupportedOperationException"));
});

test.for<{ title: string; input: { KeySpec?: "AES_256"; NumberOfBytes?: number } }>([
  { title: "neither a spec nor a number", input: {} },
  { title: "both a spec and a number", input: { KeySpec: "AES_256", NumberOfBytes: 32 } },
  { title: "1025 bytes", input: { NumberOfBytes: 1025 } },
  { title: "no bytes", input: { NumberOfBytes: 0 } },
])("GenerateDataKey refuses $title", async ({ input }) => {
  const KeyId = await create();
  const command = new GenerateDataKeyCommand({ KeyId, ...input });
  await expect(kms.send(command)).rejects.toMatchObject(INVALID);
});

test("Encrypt takes 1 to 4096 bytes", async () => {
  const KeyId = await create();
  const encrypt = (bytes: number) =>
    kms.send(new EncryptCommand({ KeyId, Plaintext: new Uint8Array(bytes) }));
  for (const bytes of [0, 4097, 4098]) await expect(encrypt(bytes)).rejects.toMatchObject(INVALID);
  for (const bytes of [1, 4096]) expect(await encrypt(bytes)).toHaveProperty("CiphertextBlob");
});
