import * as fs from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { openCustody } from "../../../host/run/vault-custody.ts";
import { vaultConfigSchema } from "../../../host/run/config.ts";
import { openLocalCustody, type KeyCustody } from "../../../host/sovereignty/index.ts";
import {
  SESSION_MANIFEST,
  genesisState,
  utf8,
  type GovernanceState,
} from "../../../protocol/index.ts";
import { createInsecureSimPlatform } from "../../../sim/platform.ts";
import {
  bootHosted,
  rigPlatform,
  rigRecipient,
  startEnclave,
  type RigEnclaveOptions,
} from "../../helpers/enclave-rig.ts";
import {
  NETWORK_TIME_MS,
  TEST_MEASUREMENT,
  createNetwork,
  testSeed,
} from "../../helpers/network.ts";
import { startNodeRig } from "../../helpers/vault-node-rig.ts";
import { counted, newFixture, newFolder, stocked } from "./vault-fixture.ts";

const WRAPPED = testSeed("a wrapped data key");

function openLocal(file: string, create = true): KeyCustody {
  return openLocalCustody({
    file,
    create,
    anchors: [rigPlatform().anchor],
    nowMs: () => NETWORK_TIME_MS,
    random: counted(file),
  });
}

/** An enclave as a recorded execution names it. */
async function recipientOf(options: RigEnclaveOptions = {}) {
  const { genesisBytes } = await createNetwork();
  const end = startEnclave({ timeMs: NETWORK_TIME_MS, ...options });
  const enclave = await bootHosted(end, "slice", genesisBytes);
  const document = await enclave.attest(testSeed("nonce"));
  const manifestDigest = SESSION_MANIFEST.digest(enclave.manifest);
  return { document, manifestDigest, governance: genesisState(genesisBytes) };
}

test("[RT-5] releases to the RSA key of the accepted enclave, and to nobody else", async () => {
  const custody = openLocal(path.join(newFolder(), "keys.cbor"));
  const blob = await custody.protect(WRAPPED);
  expect(Buffer.from(blob).includes(Buffer.from(WRAPPED))).toBe(false);
  const cms = await custody.release(blob, await recipientOf());
  expect(Buffer.from(cms).includes(Buffer.from(WRAPPED))).toBe(false);
  expect(openCiphertextForRecipient(cms, rigRecipient().privateKey)).toEqual(WRAPPED);
});

type Recipient = Awaited<ReturnType<typeof recipientOf>>;

test.for<{ title: string; code: string; make: () => Promise<Recipient> }>([
  {
    title: "an enclave of another image",
    code: "TEE_MEASUREMENT_MISMATCH",
    make: () => recipientOf({ measurement: { ...TEST_MEASUREMENT, pcr0: "ab".repeat(48) } }),
  },
  {
    title: "another platform's root",
    code: "TEE_CHAIN_UNTRUSTED",
    make: () => recipientOf({ platform: createInsecureSimPlatform(newFolder()) }),
  },
  {
    title: "another session than the recorded one",
    code: "TEE_USER_DATA_MISMATCH",
    make: async () => ({ ...(await recipientOf()), manifestDigest: testSeed("another") }),
  },
  {
    title: "an old document",
    code: "TEE_DOCUMENT_STALE",
    make: () => recipientOf({ timeMs: NETWORK_TIME_MS - 3_600_000 }),
  },
  {
    title: "a measurement that governance has revoked",
    code: "TEE_MEASUREMENT_REVOKED",
    make: async () => {
      const recipient = await recipientOf();
      const governance: GovernanceState = {
        ...recipient.governance,
        revokedMeasurements: [TEST_MEASUREMENT.pcr0],
      };
      return { ...recipient, governance };
    },
  },
  {
    title: "a document with one bit changed",
    code: "TEE_SIGNATURE_INVALID",
    make: async () => {
      const recipient = await recipientOf();
      const document = recipient.document.with(-1, (recipient.document.at(-1) ?? 0) ^ 1);
      return { ...recipient, document };
    },
  },
])("[RT-5] releases nothing to $title", async ({ code, make }) => {
  const custody = openLocal(path.join(newFolder(), "keys.cbor"));
  const blob = await custody.protect(WRAPPED);
  await expect(custody.release(blob, await make())).rejects.toMatchObject({ code });
});

test("a slice runs with keys of a local file as it does with a key service", async () => {
  const fixture = await newFixture({
    custody: openLocal(path.join(newFolder(), "keys.cbor")),
    policy: (policy) => ({
      ...policy,
      classes: { ...policy.classes, query: { ...policy.classes.query, multi_vault: false } },
    }),
  });
  await stocked(fixture);
  const rig = startNodeRig(fixture);
  const envelope = await rig.admit(["vault-1"]);
  const { code } = await rig.perform(await rig.sliceOf(envelope));
  expect(code).toBeNull();
  expect(rig.posted.map(({ kind }) => kind)).toEqual(["slice_attested", "slice_result"]);
  await rig.stop();
});

test("every version opens what it sealed; a retired one opens nothing, whoever kept its blob", async () => {
  const file = path.join(newFolder(), "keys.cbor");
  const custody = openLocal(file);
  const first = await custody.protect(WRAPPED);
  await custody.renew(custody.currentKey());
  await custody.renew("local:1");
  expect(custody.currentKey()).toBe("local:2");
  expect(custody.keyOf(first)).toBe("local:1");
  const again = openLocal(file);
  expect(await again.open(first)).toEqual(WRAPPED);
  const second = await again.rewrap(first);
  expect(again.keyOf(second)).toBe("local:2");
  expect(await again.retire()).toEqual(["local:1"]);
  await expect(again.open(first)).rejects.toMatchObject({ code: "TEE_KMS_REFUSED" });
  expect(await openLocal(file).open(second)).toEqual(WRAPPED);
  await expect(openLocal(file).open(first)).rejects.toMatchObject({ code: "TEE_KMS_REFUSED" });
});

test.for([
  { title: "empty", blob: new Uint8Array(0) },
  { title: "of another custody", blob: utf8("0123456789abcdef") },
  { title: "huge", blob: new Uint8Array(2048) },
])("refuses a blob that is $title", async ({ blob }) => {
  const custody = openLocal(path.join(newFolder(), "keys.cbor"));
  await expect(custody.open(blob)).rejects.toMatchObject({ code: "TEE_KMS_MALFORMED" });
});

test("refuses an altered blob, a file that others read, and a file that is gone", async () => {
  const file = path.join(newFolder(), "keys.cbor");
  const custody = openLocal(file);
  const blob = await custody.protect(WRAPPED);
  const altered = blob.with(-12, (blob.at(-12) ?? 0) ^ 1);
  await expect(custody.open(altered)).rejects.toMatchObject({ code: "INTERNAL_OPEN_FAILED" });
  expect(fs.statSync(file).mode % 0o1000).toBe(0o600);
  fs.chmodSync(file, 0o640);
  expect(() => openLocal(file)).toThrow("only its owner");
  fs.rmSync(file);
  expect(() => openLocal(file, false)).toThrow("expected a file");
  expect(fs.readdirSync(path.dirname(file))).toEqual([]);
});

test("two processes that make a Vault's key file at once end with one", async () => {
  const file = path.join(newFolder(), "keys.cbor");
  const [first, second] = [openLocal(file), openLocal(file)];
  const blob = await first.protect(WRAPPED);
  expect(await second.open(blob)).toEqual(WRAPPED);
});

test("a configuration without a word on custody has a key file beside it; one among the batches is refused", () => {
  const directory = newFolder();
  const config = vaultConfigSchema.parse({
    ...{ role: "vault", actor_id: "vault-1", directory },
    ...{ signing_seed_file: "s", box_seed_file: "b", genesis_file: "g", trust_file: "t" },
    ...{ coordinator_url: "u", operator_listen: { address: "127.0.0.1", port: 0 } },
  });
  expect(config.key_custody).toEqual({ kind: "local", file: "vault-keys.cbor" });
  const environment = { anchors: [], nowMs: () => 0, random: counted("x") };
  const among = path.join(directory, "batches", "keys.cbor");
  const wrong = { ...config, key_custody: { kind: "local", file: among } } as const;
  expect(() => openCustody(wrong, environment)).toThrow("apart from the batches");
});
