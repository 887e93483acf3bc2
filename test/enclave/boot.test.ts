import { beforeAll, expect, test } from "vitest";

import { appraiseEvidence, verifyNitroDocument } from "../../attestation/index.ts";
import { configurationDigest } from "../../enclave/limits.ts";
import { fromHex, sha256, vaultNonce } from "../../protocol/index.ts";
import {
  bootHosted,
  codeOf,
  rigPlatform,
  rigRecipient,
  startEnclave,
} from "../helpers/enclave-rig.ts";
import {
  NETWORK_TIME_MS,
  TEST_MEASUREMENT,
  createNetwork,
  testSeed,
  type TestNetwork,
} from "../helpers/network.ts";

let network: TestNetwork;

beforeAll(async () => {
  network = await createNetwork();
});

test("[XP-10] an enclave's document speaks for its manifest, recipient key and nonce", async () => {
  const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
  const nonce = vaultNonce(
    { envelope_digest: testSeed("envelope"), vault_id: "vault-1", round: 0, attempt: 0 },
    testSeed("random"),
  );
  const document = await enclave.attest(nonce);
  const evidence = verifyNitroDocument(document, [rigPlatform().anchor], { mode: "replay" });
  const report = appraiseEvidence(evidence, {
    platforms: ["sim"],
    measurements: [{ ...TEST_MEASUREMENT, validFromMs: 0, validUntilMs: NETWORK_TIME_MS * 2 }],
    revokedMeasurements: [],
    revokedIdentities: [],
    nitro: { pcr3: { unchecked: "any role" }, pcr8: { unchecked: "unsigned image" } },
    snp: null,
    tdx: null,
    nonce: { equals: nonce },
    userData: { equals: enclave.manifestDigest },
    publicKey: { equals: rigRecipient().publicKey },
    maxAgeMs: { unchecked: "archived" },
    judgedAtMs: NETWORK_TIME_MS + 60_000,
  });
  expect(report.platform).toBe("sim");
  expect(evidence.claims.pcrs.get(0)).toEqual(fromHex(TEST_MEASUREMENT.pcr0));
});

test("[XP-10] the manifest says everything that changes behaviour", async () => {
  const enclave = await bootHosted(startEnclave(), "aggregate", network.genesisBytes);
  expect(enclave.manifest).toMatchObject({
    role: "aggregate",
    genesis_digest: network.genesisDigest,
    anchors: [{ platform: "sim", sha256: sha256(rigPlatform().anchor.certificate) }],
    configuration_digest: configurationDigest(),
    recipient_key: rigRecipient().publicKey,
    runtime: process.version,
  });
});

test("[TT-3] every enclave has keys and a challenge of its own", async () => {
  const [one, two] = await Promise.all(
    [1, 2].map(() => bootHosted(startEnclave(), "slice", network.genesisBytes)),
  );
  expect(one?.manifest.box_key).not.toEqual(two?.manifest.box_key);
  expect(one?.manifest.signing_key).not.toEqual(two?.manifest.signing_key);
  expect(one?.manifest.challenge).not.toEqual(two?.manifest.challenge);
});

test("[XP-10] refuses to boot for bytes that are no genesis", async () => {
  const end = startEnclave();
  const response = await end.call({ method: "boot", role: "slice", genesis: new Uint8Array(9) });
  expect(codeOf(response)).toBe("SCHEMA_CBOR_MALFORMED");
});
