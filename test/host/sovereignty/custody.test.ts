import * as fs from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { DecryptCommand, KMSClient, PutKeyPolicyCommand } from "@aws-sdk/client-kms";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";

import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { createKms, recipientKeyPolicy, type Kms } from "../../../host/adapters/kms.ts";
import { openSecrets } from "../../../host/sovereignty/custody/secrets.ts";
import { kmsCustody, type SlicePlan } from "../../../host/sovereignty/index.ts";
import {
  SEALED_ORDER,
  SEAL_INFO,
  TASK_ENVELOPE,
  WORK_ORDER,
  batchWrapInfo,
  decodeCbor,
  decryptOnce,
  hex,
  inputCommitment,
  openBatch,
  parseBatchHeader,
  seal,
  sessionAad,
  vaultNonce,
  type EnclaveRequest,
  type SealedOrder,
  type SigningKey,
  type SliceReference,
  type TaskEnvelope,
  type WorkOrder,
} from "../../../protocol/index.ts";
import { startInsecureKms, type InsecureKms } from "../../../sim/index.ts";
import {
  bootHosted,
  codeOf,
  rigPlatform,
  rigRecipient,
  startEnclave,
  type HostedEnclave,
} from "../../helpers/enclave-rig.ts";
import { runSoleTask } from "../../helpers/enclave-round.ts";
import { testTask } from "../../helpers/network-task.ts";
import {
  NETWORK_TIME_MS,
  TEST_MEASUREMENT,
  createNetwork,
  testSeed,
} from "../../helpers/network.ts";
import { startNodeRig, type NodeRig } from "../../helpers/vault-node-rig.ts";
import { newFixture, newFolder, stocked, type Fixture } from "./vault-fixture.ts";

type RunRequest = Extract<EnclaveRequest, { method: "run" }>;

const CREDENTIALS = { accessKeyId: "local", secretAccessKey: "local" };
const REGION = "sim-local-1";

let server: InsecureKms;
let kms: Kms;
let keyId: string;
let fixture: Fixture;
/** On another disk than the batches. */
let secretsFile: string;
let rig: NodeRig;
/** A genuine task of one Vault, and what its host handed its enclave. */
let envelope: TaskEnvelope;
let genuine: RunRequest;
let plan: SlicePlan;

beforeEach(async () => {
  server = await startInsecureKms({
    directory: newFolder(),
    anchors: [rigPlatform().anchor],
    port: 0,
    nowMs: () => NETWORK_TIME_MS,
  });
  kms = createKms({ region: REGION, endpoint: server.endpoint, credentials: CREDENTIALS });
  keyId = await kms.createKey(recipientKeyPolicy("*", [TEST_MEASUREMENT]));
  const custody = kmsCustody(kms, keyId);
  secretsFile = path.join(newFolder(), "secrets.cbor");
  fixture = await newFixture({
    custody,
    secretsFile,
    policy: (policy) => ({
      ...policy,
      classes: { ...policy.classes, query: { ...policy.classes.query, multi_vault: false } },
    }),
  });
  await stocked(fixture);
  rig = startNodeRig(fixture);
  rig.hooks.asked = (request) => {
    if (request.method === "run") genuine = structuredClone(request);
  };
  envelope = await rig.admit(["vault-1"]);
  plan = await fixture.vault.prepareSlice(envelope, fixture.governance, { round: 0, attempt: 0 });
  await rig.perform(await rig.sliceOf(envelope));
});

afterEach(async () => {
  await rig.stop();
  kms.close();
  await server.close();
});

const labelled = z.object({ sealed: z.instanceof(Uint8Array) });

/** What stands in the Vault's database of each batch. */
function storedKeys(): { batch_id: Uint8Array; protected_key: Uint8Array }[] {
  const database = new DatabaseSync(path.join(fixture.directory, "vault.db"), { readOnly: true });
  const rows = database.prepare("select batch_id, protected_key from batch").all();
  database.close();
  return rows.map(({ batch_id, protected_key }) => {
    if (!(batch_id instanceof Uint8Array) || !(protected_key instanceof Uint8Array)) {
      throw new Error("expected blobs");
    }
    const { sealed } = labelled.parse(decodeCbor(protected_key));
    return { batch_id, protected_key: sealed };
  });
}

function vaultSecret(batchId: Uint8Array): Uint8Array {
  return openSecrets(secretsFile, () => new Uint8Array(32)).batchSecret(batchId);
}

describe("an administrator of the key service alone", () => {
  /** Changes the key policy as an administrator may, and decrypts everything. */
  async function decryptAll(): Promise<{ batchId: Uint8Array; plaintext: Uint8Array }[]> {
    const client = new KMSClient({
      region: REGION,
      endpoint: server.endpoint,
      credentials: CREDENTIALS,
    });
    const anything = { Effect: "Allow", Principal: { AWS: "*" }, Action: "kms:*", Resource: "*" };
    const Policy = JSON.stringify({ Version: "2012-10-17", Statement: [anything] });
    await client.send(new PutKeyPolicyCommand({ KeyId: keyId, Policy }));
    const opened = [];
    for (const { batch_id: batchId, protected_key: CiphertextBlob } of storedKeys()) {
      const { Plaintext } = await client.send(new DecryptCommand({ KeyId: keyId, CiphertextBlob }));
      opened.push({ batchId, plaintext: Uint8Array.from(Plaintext ?? []) });
    }
    client.destroy();
    return opened;
  }

  test("[RT-5][TT-3] decrypts every key it keeps, holds every sealed batch, and opens no record", async () => {
    const opened = await decryptAll();
    expect(opened.length).toBeGreaterThan(0);
    for (const { batchId, plaintext } of opened) {
      const [sealed] = genuine.batches.filter(
        (batch) => hex(parseBatchHeader(batch).batch_id) === hex(batchId),
      );
      if (sealed === undefined) throw new Error("expected the sealed batch");
      const guesses = [plaintext, plaintext.subarray(0, 32), plaintext.subarray(-32)];
      for (const guess of guesses) expect(() => openBatch(sealed, guess)).toThrow();
      // The Vault's own secret is all that was missing.
      const dataKey = decryptOnce(vaultSecret(batchId), batchWrapInfo(batchId), plaintext);
      expect(openBatch(sealed, dataKey).subjectIds.length).toBeGreaterThan(0);
    }
  });

  test("[RT-5] finds no Vault secret and no data key on the disk of the batches", async () => {
    const wanted = (await decryptAll()).flatMap(({ batchId, plaintext }) => {
      const secret = vaultSecret(batchId);
      return [secret, decryptOnce(secret, batchWrapInfo(batchId), plaintext)];
    });
    const names = fs.readdirSync(fixture.directory, { recursive: true, encoding: "utf8" });
    const files = names
      .map((name) => path.join(fixture.directory, name))
      .filter((name) => fs.statSync(name).isFile());
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) {
      const content = fs.readFileSync(file);
      for (const secret of wanted) expect(content.includes(Buffer.from(secret)), file).toBe(false);
    }
  });
});

describe("a host with an enclave of the right image, the disk and the key service, but no order", () => {
  let enclave: HostedEnclave;
  let evidence: Uint8Array;
  let released: RunRequest["batch_keys"];
  let reference: SliceReference;

  beforeEach(async () => {
    const end = startEnclave({ timeMs: NETWORK_TIME_MS });
    enclave = await bootHosted(end, "slice", fixture.network.genesisBytes);
    reference = {
      envelope_digest: TASK_ENVELOPE.digest(envelope),
      vault_id: "vault-1",
      round: 0,
      attempt: 0,
    };
    evidence = await enclave.attest(vaultNonce(reference, testSeed("another nonce")));
    released = await releaseTo(evidence);
  });

  /** The key service releases to whoever runs the right image. */
  async function releaseTo(document: Uint8Array): Promise<RunRequest["batch_keys"]> {
    const keys = [];
    for (const { batch_id, protected_key } of storedKeys()) {
      keys.push({ batch_id, cms: await kms.decryptForRecipient(keyId, protected_key, document) });
    }
    return keys;
  }

  const genuineOrder = (): WorkOrder => {
    const result = rig.posted.find((body) => body.kind === "slice_result");
    return WORK_ORDER.verify(result?.order ?? new Uint8Array(0), fixture.actor.signing.publicKey);
  };

  /** A request with an order that the host signed, sealed as if a Vault had. */
  async function forged(
    order: Partial<WorkOrder>,
    options: {
      readonly key?: SigningKey;
      readonly secret?: (batchId: Uint8Array) => Uint8Array;
      readonly request?: Partial<RunRequest>;
      readonly signed?: Uint8Array;
    } = {},
  ): Promise<RunRequest> {
    const { key = fixture.actor.signing, secret = () => testSeed("a guess") } = options;
    const statement = { ...genuineOrder(), enclave_manifest: enclave.manifestDigest, ...order };
    const sealedOrder: SealedOrder = {
      order: options.signed ?? WORK_ORDER.sign(statement, key),
      batch_secrets: released.map(({ batch_id }) => ({ batch_id, secret: secret(batch_id) })),
      consent_bitmap: plan.consentBitmap,
      consent_key: plan.consentKey,
      noise_share: plan.noiseShare,
    };
    const request = { ...genuine, evidence, batch_keys: released, ...options.request };
    return {
      ...request,
      sealed_order: await seal({
        to: enclave.manifest.box_key,
        info: SEAL_INFO.order,
        aad: sessionAad({ ...reference, vault_id: request.vault_id }, evidence),
        plaintext: SEALED_ORDER.encode(sealedOrder),
      }),
    };
  }

  test("[RT-5] what the key service releases opens no batch", () => {
    for (const { batch_id, cms } of released) {
      const wrapped = openCiphertextForRecipient(cms, rigRecipient().privateKey);
      const sealed = genuine.batches.find(
        (batch) => hex(parseBatchHeader(batch).batch_id) === hex(batch_id),
      );
      if (sealed === undefined) throw new Error("expected the sealed batch");
      expect(() => openBatch(sealed, wrapped)).toThrow();
      expect(() => openBatch(sealed, wrapped.subarray(0, 32))).toThrow();
    }
  });

  interface Forgery {
    readonly title: string;
    readonly code: string;
    readonly make: () => Promise<RunRequest>;
  }

  const secondVault = (): SigningKey => {
    const [, second] = fixture.network.vaults;
    if (second === undefined) throw new Error("expected a second Vault");
    return second.signing;
  };

  /** The task's envelope with more to spend, and its digest. */
  const widened = () => {
    const wider = { ...envelope, epsilon_micro: envelope.epsilon_micro * 2 };
    return { bytes: TASK_ENVELOPE.encode(wider), digest: TASK_ENVELOPE.digest(wider) };
  };

  test.for<Forgery>([
    {
      title: "an order that the host signed itself",
      code: "PROOF_SIGNATURE_INVALID",
      make: () => forged({}, { key: fixture.network.submitter.signing }),
    },
    {
      title: "an order of another Vault for this Vault's data",
      code: "PROOF_SIGNATURE_INVALID",
      make: () => forged({}, { key: secondVault() }),
    },
    {
      title: "another Vault's order as its own",
      code: "EXECUTION_ORDER_MISMATCH",
      make: () =>
        forged({ vault_id: "vault-2" }, { key: secondVault(), request: { vault_id: "vault-2" } }),
    },
    {
      title: "the Vault's genuine order, which is for another enclave",
      code: "EXECUTION_ORDER_MISMATCH",
      make: () => forged({}, { signed: WORK_ORDER.sign(genuineOrder(), fixture.actor.signing) }),
    },
    {
      title: "the genuine order under an altered envelope",
      code: "EXECUTION_ORDER_MISMATCH",
      make: () => forged({}, { request: { envelope: widened().bytes } }),
    },
    {
      title: "an order for the altered envelope too",
      code: "EXECUTION_ORDER_MISMATCH",
      make: () => {
        const { bytes, digest } = widened();
        reference = { ...reference, envelope_digest: digest };
        return forged({ envelope_digest: digest }, { request: { envelope: bytes } });
      },
    },
    {
      title: "the whole genuine request again",
      code: "EXECUTION_ORDER_MISMATCH",
      make: () => Promise.resolve(genuine),
    },
    {
      title: "the genuine sealed order with this enclave's evidence and keys",
      code: "INTERNAL_OPEN_FAILED",
      make: () => Promise.resolve({ ...genuine, evidence, batch_keys: released }),
    },
    {
      title: "an order with the Vault's own signature, but not its secrets",
      code: "INTERNAL_OPEN_FAILED",
      make: () => forged({}),
    },
  ])("[RT-5][XP-3] obtains no key with $title", async ({ code, make }) => {
    expect(codeOf(await enclave.call(await make()))).toBe(code);
  });

  test("[RT-5] obtains no key in a network of its own, where it is governance, Vault and submitter", async () => {
    const own = await createNetwork({
      genesis: (genesis) => ({ ...genesis, network: "own" }),
      policy: () => fixture.governance.policy,
    });
    const stolen = genuine.batches.map((bytes) => ({
      batchId: parseBatchHeader(bytes).batch_id,
      secret: testSeed("a guess"),
      dataKey: testSeed("a guess"),
      bytes,
      root: parseBatchHeader(bytes).record_root,
      records: [],
    }));
    const { consentBitmap, consentKey } = plan;
    const data = {
      batches: stolen,
      consentBitmap,
      consentKey,
      inputCommitment: inputCommitment(stolen.map(({ root }) => root)),
    };
    const { parameters } = envelope;
    const task = await testTask(own, { parameters, data: [data] });
    let document = new Uint8Array(0);
    const refused = runSoleTask(task, {
      end: startEnclave({ timeMs: NETWORK_TIME_MS }),
      run: async (request) => {
        document = Uint8Array.from(request.evidence);
        return { ...request, batch_keys: await releaseTo(document) };
      },
    });
    await expect(refused).rejects.toMatchObject({ method: "run", code: "INTERNAL_OPEN_FAILED" });
    expect(document.length).toBeGreaterThan(0);
  });

  test("[RT-5] would lack nothing else: with the Vault's secrets the same request runs", async () => {
    expect(rig.posted.map(({ kind }) => kind)).toEqual(["slice_attested", "slice_result"]);
    const request = await forged({}, { secret: vaultSecret });
    expect(codeOf(await enclave.call(request))).toBe("ran");
  });
});
