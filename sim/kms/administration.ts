import { z } from "zod";

import { base64 } from "#protocol";

import { DEFAULT_POLICY, expectUsablePolicy, keyArn } from "./authorize.ts";
import { SIM_ACCOUNT } from "./caller.ts";
import { KmsFault } from "./fault.ts";
import { KEY_SPECS, type KeySpec, type SimKey } from "./keys.ts";
import { RSA_ALGORITHMS, generatePair, publicKeyOf } from "./material.ts";
import { allowedKey, keyIdSchema, parse, type Call, type Operation } from "./service.ts";

/** KMS quota of keys per account and region. */
export const KEYS_MAX = 100_000;
const DAY_MS = 86_400_000;
const LIST_MAX = 1000;

const policyName = z.literal("default").optional();
const createKeySchema = z.strictObject({
  Policy: z.string().min(1).optional(),
  Description: z.string().max(8192).default(""),
  KeyUsage: z.string().default("ENCRYPT_DECRYPT"),
  KeySpec: z.enum(KEY_SPECS).default("SYMMETRIC_DEFAULT"),
  BypassPolicyLockoutSafetyCheck: z.boolean().default(false),
  Origin: z.literal("AWS_KMS").optional(),
  MultiRegion: z.literal(false).optional(),
  Tags: z.array(z.unknown()).max(50).optional(),
});
const keySchema = z.strictObject({ KeyId: keyIdSchema });
const listSchema = z.strictObject({
  Limit: z.int().min(1).max(LIST_MAX).default(100),
  Marker: z.string().max(1024).default(""),
});
const getPolicySchema = z.strictObject({ KeyId: keyIdSchema, PolicyName: policyName });
const putPolicySchema = z.strictObject({
  KeyId: keyIdSchema,
  PolicyName: policyName,
  Policy: z.string().min(1),
  BypassPolicyLockoutSafetyCheck: z.boolean().default(false),
});
const deletionSchema = z.strictObject({
  KeyId: keyIdSchema,
  PendingWindowInDays: z.int().min(7).max(30).default(30),
});

/** Operations that make, show and change keys. */
export const ADMINISTRATION: Readonly<Record<string, Operation>> = {
  CreateKey: createKey,
  DescribeKey: (call) => {
    const { KeyId } = parse(keySchema, call.request);
    return { KeyMetadata: metadata(allowedKey(call, KeyId, { action: "kms:DescribeKey" })) };
  },
  ListKeys: listKeys,
  GetKeyPolicy: (call) => {
    const { KeyId } = parse(getPolicySchema, call.request);
    const { policy } = allowedKey(call, KeyId, { action: "kms:GetKeyPolicy" });
    return { Policy: policy, PolicyName: "default" };
  },
  PutKeyPolicy: putKeyPolicy,
  GetPublicKey: getPublicKey,
  EnableKey: (call) => setState(call, "Enabled"),
  DisableKey: (call) => setState(call, "Disabled"),
  ScheduleKeyDeletion: scheduleKeyDeletion,
};

async function createKey(call: Call): Promise<object> {
  const { service, principalArn } = call;
  const request = parse(createKeySchema, call.request);
  const { Policy: policy = DEFAULT_POLICY, KeySpec: spec, Description: description } = request;
  const usage = usageOf(spec, request.KeyUsage);
  if (service.keys.ids().length >= KEYS_MAX) {
    throw new KmsFault("LimitExceededException", `expected at most ${KEYS_MAX} keys`);
  }
  const draft = {
    ...{ spec, usage, policy, description, deletionMs: null, createdMs: service.nowMs() },
    state: "Enabled",
  } as const;
  expectUsablePolicy(
    { ...draft, keyId: "new", material: new Uint8Array(0) },
    { principalArn, bypass: request.BypassPolicyLockoutSafetyCheck },
  );
  const material =
    spec === "SYMMETRIC_DEFAULT" ? service.random(32) : (await generatePair(spec)).pkcs8;
  return { KeyMetadata: metadata(service.keys.create({ ...draft, material })) };
}

function usageOf(spec: KeySpec, usage: string): SimKey["usage"] {
  const isCurve = spec.startsWith("ECC_");
  if (usage === "ENCRYPT_DECRYPT" && !isCurve) return usage;
  if (usage === "KEY_AGREEMENT" && isCurve) return usage;
  if (["SIGN_VERIFY", "GENERATE_VERIFY_MAC"].includes(usage)) {
    throw new KmsFault("UnsupportedOperationException", `the simulator has no keys for ${usage}`);
  }
  throw new KmsFault("ValidationException", `KeyUsage ${usage} does not go with KeySpec ${spec}`);
}

function listKeys(call: Call): object {
  const { Limit, Marker } = parse(listSchema, call.request);
  const rest = call.service.keys.ids().filter((id) => id > Marker);
  const page = rest.slice(0, Limit);
  const more = rest.length > page.length;
  return {
    Keys: page.map((keyId) => ({ KeyId: keyId, KeyArn: keyArn({ keyId }) })),
    Truncated: more,
    ...(more ? { NextMarker: page.at(-1) } : {}),
  };
}

function putKeyPolicy(call: Call): object {
  const request = parse(putPolicySchema, call.request);
  const key = allowedKey(call, request.KeyId, { action: "kms:PutKeyPolicy" });
  const changed = { ...key, policy: request.Policy };
  const { principalArn } = call;
  expectUsablePolicy(changed, { principalArn, bypass: request.BypassPolicyLockoutSafetyCheck });
  call.service.keys.replace(changed);
  return {};
}

function setState(call: Call, state: "Enabled" | "Disabled"): object {
  const { KeyId } = parse(keySchema, call.request);
  const action = state === "Enabled" ? "kms:EnableKey" : "kms:DisableKey";
  const key = allowedKey(call, KeyId, { action });
  expectNotDeleted(key);
  call.service.keys.replace({ ...key, state });
  return {};
}

function scheduleKeyDeletion(call: Call): object {
  const { KeyId, PendingWindowInDays: days } = parse(deletionSchema, call.request);
  const key = allowedKey(call, KeyId, { action: "kms:ScheduleKeyDeletion" });
  expectNotDeleted(key);
  const deletionMs = call.service.nowMs() + days * DAY_MS;
  call.service.keys.replace({ ...key, state: "PendingDeletion", deletionMs });
  return {
    KeyId: keyArn(key),
    DeletionDate: Math.floor(deletionMs / 1000),
    KeyState: "PendingDeletion",
    PendingWindowInDays: days,
  };
}

function expectNotDeleted({ state }: SimKey): void {
  if (state === "PendingDeletion") {
    throw new KmsFault("KMSInvalidStateException", "the key is pending deletion");
  }
}

function getPublicKey(call: Call): object {
  const { KeyId } = parse(keySchema, call.request);
  const key = allowedKey(call, KeyId, { action: "kms:GetPublicKey" });
  if (key.spec === "SYMMETRIC_DEFAULT") {
    throw new KmsFault("UnsupportedOperationException", "a symmetric key has no public half");
  }
  if (key.state !== "Enabled") throw new KmsFault("DisabledException", "the key is not enabled");
  return {
    ...{ KeyId: keyArn(key), KeySpec: key.spec, CustomerMasterKeySpec: key.spec },
    ...{ KeyUsage: key.usage, PublicKey: base64(publicKeyOf(key)) },
    ...algorithms(key),
  };
}

function metadata(key: SimKey): object {
  return {
    ...{ AWSAccountId: SIM_ACCOUNT, KeyId: key.keyId, Arn: keyArn(key) },
    CreationDate: Math.floor(key.createdMs / 1000),
    Enabled: key.state === "Enabled",
    Description: key.description,
    ...{ KeyUsage: key.usage, KeyState: key.state, KeySpec: key.spec },
    CustomerMasterKeySpec: key.spec,
    ...{ Origin: "AWS_KMS", KeyManager: "CUSTOMER", MultiRegion: false },
    ...(key.deletionMs === null ? {} : { DeletionDate: Math.floor(key.deletionMs / 1000) }),
    ...(key.spec === "SYMMETRIC_DEFAULT" ? { EncryptionAlgorithms: ["SYMMETRIC_DEFAULT"] } : {}),
    ...algorithms(key),
  };
}

function algorithms({ spec }: SimKey): object {
  if (spec.startsWith("RSA_")) return { EncryptionAlgorithms: Object.keys(RSA_ALGORITHMS) };
  return spec.startsWith("ECC_") ? { KeyAgreementAlgorithms: ["ECDH"] } : {};
}
