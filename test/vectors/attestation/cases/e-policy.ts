import { concat, encodeCbor, fromHex, sha256, utf8 } from "../../../../protocol/index.ts";
import { encodePcrs } from "../../../../sim/cose.ts";
import {
  IMAGE,
  MODULE_ID,
  NONCE,
  NOW,
  PUBLIC_KEY,
  USER_DATA,
  forgeDocument,
  forgePcrs,
} from "../../../attestation/forge.ts";
import { GENUINE_BASE, json, type Case } from "./case.ts";

const ZERO = "00".repeat(48);
const OTHER = "dd".repeat(48);
const reference = { ...IMAGE, validFromMs: 0, validUntilMs: NOW + 1 };
const debug = { stage: "appraise", code: "TEE_DEBUG_REFUSED", check: "debug" } as const;
const mismatch = {
  stage: "appraise",
  code: "TEE_MEASUREMENT_MISMATCH",
  check: "measurement",
} as const;

/** Category E: authentic evidence that the policy does not accept, and policies that would accept anything. */
export function ePolicy(genuineDebug: readonly string[]): readonly Case[] {
  return [
    ...debugs(),
    ...genuineDebug.map(genuineDebugCase),
    ...measurements(),
    ...revocations(),
    ...bindings(),
    ...ages(),
    ...platforms(),
    ...configurations(),
  ];
}

/** A document with these PCRs; null leaves one out. */
export function withPcrs(values: Readonly<Record<number, string | null>>): Uint8Array {
  const pcrs = forgePcrs();
  for (const [at, value] of Object.entries(values)) {
    if (value === null) pcrs.delete(Number(at));
    else pcrs.set(Number(at), fromHex(value));
  }
  return forgeDocument({ fields: { pcrs: encodePcrs(pcrs) } });
}

/** Zeros in a document, and a policy that wants them. */
function debugs(): readonly Case[] {
  const names = ["pcr0", "pcr1", "pcr2"] as const;
  const sets: readonly (readonly number[])[] = [[0, 1, 2], [0], [1], [2], [0, 1, 2, 3, 8]];
  return sets.map((zeros) => {
    const measurement = { ...reference };
    for (const [at, name] of names.entries()) if (zeros.includes(at)) measurement[name] = ZERO;
    return {
      title: `a debug enclave, zeros in PCR ${zeros.join(", ")} as the policy has them`,
      document: withPcrs(Object.fromEntries(zeros.map((at) => [at, ZERO]))),
      policy: { measurements: [measurement] },
      ...debug,
    };
  });
}

function genuineDebugCase(file: string): Case {
  const zeros = { pcr0: ZERO, pcr1: ZERO, pcr2: ZERO };
  return {
    title: `a genuine debug enclave (${file}), zeros as the policy has them`,
    base: GENUINE_BASE,
    swap: { document: `shared:nitro/${file}` },
    policy: {
      measurements: [{ ...zeros, validFromMs: 0, validUntilMs: 8_000_000_000_000 }],
      maxAgeMs: { unchecked: "an archived document" },
      judgedAtMs: 1_790_000_000_000,
    },
    ...debug,
  };
}

function measurements(): readonly Case[] {
  return [
    ...[0, 1, 2].map((at) => ({
      title: `another PCR${at}`,
      document: withPcrs({ [at]: OTHER }),
      ...mismatch,
    })),
    ...[0, 1, 2].map((at) => ({
      title: `no PCR${at}`,
      document: withPcrs({ [at]: null }),
      ...mismatch,
    })),
    {
      title: "PCRs of two accepted images",
      policy: {
        measurements: [
          { ...reference, pcr0: OTHER },
          { ...reference, pcr1: OTHER },
        ],
      },
      ...mismatch,
    },
    {
      title: "PCR0 and PCR1 exchanged",
      document: withPcrs({ 0: IMAGE.pcr1, 1: IMAGE.pcr0 }),
      ...mismatch,
    },
    {
      title: "an image that was removed from the policy",
      policy: { measurements: [{ ...reference, pcr0: OTHER, pcr1: OTHER, pcr2: OTHER }] },
      ...mismatch,
    },
    {
      title: "an image accepted from a millisecond later on",
      policy: { measurements: [{ ...reference, validFromMs: NOW + 1, validUntilMs: NOW + 2 }] },
      ...mismatch,
      check: "measurement-valid-from",
    },
    {
      title: "an image accepted until this millisecond",
      policy: { measurements: [{ ...reference, validUntilMs: NOW }] },
      ...mismatch,
      check: "measurement-valid-until",
    },
  ];
}

function revocations(): readonly Case[] {
  const identity = { stage: "appraise", code: "TEE_PLATFORM_REVOKED" } as const;
  return [
    {
      title: "a revoked image",
      policy: { revokedMeasurements: [OTHER, IMAGE.pcr0] },
      stage: "appraise",
      code: "TEE_MEASUREMENT_REVOKED",
      check: "revoked-measurement",
    },
    {
      title: "a revoked enclave",
      policy: { revokedIdentities: ["i-0123456789abcdee", MODULE_ID] },
      ...identity,
      check: "revoked-identity",
    },
    {
      title: "an enclave of a revoked instance",
      policy: { revokedIdentities: ["i-0123456789abcdef"] },
      ...identity,
      check: "revoked-identity",
    },
  ];
}

/** A field as the document has it, and what is wrong with it. */
function bindings(): readonly Case[] {
  const nonce = { stage: "appraise", code: "TEE_NONCE_MISMATCH", check: "nonce" } as const;
  const key = { stage: "appraise", code: "TEE_PUBLIC_KEY_MISMATCH", check: "public-key" } as const;
  const data = { stage: "appraise", code: "TEE_USER_DATA_MISMATCH", check: "user-data" } as const;
  const having = (field: string, value: Uint8Array | null): Uint8Array =>
    forgeDocument({ fields: { [field]: value } });
  const variants = (
    name: string,
    value: Uint8Array,
  ): readonly (readonly [string, Uint8Array | null])[] => [
    [`no ${name}`, null],
    [`a null ${name}`, fromHex("f6")],
    [`an empty ${name}`, fromHex("40")],
    [`a ${name} without its first byte`, encodeCbor(value.subarray(1))],
    [`a ${name} without its last byte`, encodeCbor(value.subarray(0, -1))],
    [`a ${name} with a byte more`, encodeCbor(concat(value, fromHex("00")))],
    [`a ${name} of zeros`, encodeCbor(new Uint8Array(value.length))],
    [`a ${name} with its last bit flipped`, encodeCbor(value.with(-1, (value.at(-1) ?? 0) ^ 1))],
  ];
  return [
    ...variants("nonce", NONCE).map(([title, value]) => ({
      title,
      document: having("nonce", value),
      ...nonce,
    })),
    {
      title: "the nonce of another session",
      policy: { nonce: { equals: json(utf8("a nonce of another one.")) } },
      ...nonce,
    },
    {
      title: "a nonce that is none of several",
      policy: { nonce: { anyOf: [json(utf8("one")), json(utf8("two"))] } },
      ...nonce,
    },
    ...variants("public_key", PUBLIC_KEY).map(([title, value]) => ({
      title,
      document: having("public_key", value),
      ...key,
    })),
    {
      title: "a public key other than the channel's",
      policy: { publicKey: { equals: json(utf8("another key.")) } },
      ...key,
    },
    ...variants("user_data", USER_DATA).map(([title, value]) => ({
      title,
      document: having("user_data", value),
      ...data,
    })),
    {
      title: "the digest of another channel",
      policy: { userData: { anyOf: [json(sha256(utf8("one"))), json(sha256(utf8("two")))] } },
      ...data,
    },
  ];
}

function ages(): readonly Case[] {
  const stale = { stage: "appraise", code: "TEE_DOCUMENT_STALE", check: "age" } as const;
  const window = { measurements: [{ ...reference, validUntilMs: 2 * NOW }] };
  return [
    {
      title: "a document a millisecond older than the policy allows",
      policy: { ...window, judgedAtMs: NOW + 60_001 },
      ...stale,
    },
    {
      title: "a document of another hour",
      policy: { ...window, judgedAtMs: NOW + 3_600_000 },
      ...stale,
    },
    {
      title: "a document of the millisecond before, where none may be older",
      policy: { ...window, maxAgeMs: { atMost: 0 }, judgedAtMs: NOW + 1 },
      ...stale,
    },
    {
      title: "a document from 30 001 ms ahead",
      policy: { judgedAtMs: NOW - 30_001 },
      ...stale,
      check: "age-ahead",
    },
    {
      title: "a document from 30 001 ms ahead, whatever its age may be",
      policy: { judgedAtMs: NOW - 30_001, maxAgeMs: { unchecked: "archived" } },
      ...stale,
      check: "age-ahead",
    },
  ];
}

function platforms(): readonly Case[] {
  const refused = { stage: "appraise", code: "TEE_PLATFORM_REFUSED", check: "platform" } as const;
  return [
    {
      title: "a simulator where AWS is required",
      policy: { platforms: ["aws-nitro"] },
      ...refused,
    },
    {
      title: "AWS where a simulator is required",
      base: GENUINE_BASE,
      policy: { platforms: ["sim"] },
      ...refused,
    },
  ];
}

function configurations(): readonly Case[] {
  const refused = { stage: "appraise", code: "TEE_CONFIGURATION_REFUSED" } as const;
  const role = { nitro: { pcr3: { equals: `03${"00".repeat(47)}` } } };
  const signer = { nitro: { pcr8: { equals: "88".repeat(48) } } };
  return [
    {
      title: "no PCR3 where a role is required",
      document: withPcrs({ 3: null }),
      policy: role,
      ...refused,
      check: "pcr3",
    },
    {
      title: "PCR3 of zeros where a role is required",
      document: withPcrs({ 3: ZERO }),
      policy: role,
      ...refused,
      check: "pcr3",
    },
    {
      title: "PCR3 of another role",
      document: withPcrs({ 3: OTHER }),
      policy: role,
      ...refused,
      check: "pcr3",
    },
    {
      title: "PCR8 of zeros where a signer is required",
      policy: signer,
      ...refused,
      check: "pcr8",
    },
    {
      title: "no PCR8 where a signer is required",
      document: withPcrs({ 8: null }),
      policy: signer,
      ...refused,
      check: "pcr8",
    },
    {
      title: "PCR8 of another signer",
      document: withPcrs({ 8: OTHER }),
      policy: signer,
      ...refused,
      check: "pcr8",
    },
    {
      title: "PCR8 that is none of several signers'",
      document: withPcrs({ 8: OTHER }),
      policy: { nitro: { pcr8: { anyOf: ["88".repeat(48), "99".repeat(48)] } } },
      ...refused,
      check: "pcr8",
    },
  ];
}
