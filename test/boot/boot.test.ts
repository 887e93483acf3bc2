import { randomBytes } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  AWS_NITRO_ROOT_G1,
  appraiseSession,
  verifyNitroDocument,
  type TrustAnchor,
} from "../../attestation/index.ts";
import { genesisState, hex, sha384, utf8 } from "../../protocol/index.ts";
import { bootHosted, type HostedEnclave } from "../helpers/enclave-rig.ts";
import { runSoleTask } from "../helpers/enclave-round.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask } from "../helpers/network-task.ts";
import { createNetwork, type Measurement } from "../helpers/network.ts";
import { AGE_SCORES } from "../helpers/sample-parameters.ts";
import type { Machine } from "./machine.ts";
import {
  PARENT_ROLE,
  boot,
  bootImage,
  bootPlatform,
  canBoot,
  openEnclave,
  withOtherByte,
  type BootImage,
} from "./rig.ts";

const MINUTES = 60_000;
/** In a comment of `enclave/main.ts`, in the image. */
const OWN_SOURCE = "/** One process, one job:";

/** A slice enclave of `machine`, its document over a nonce, and what the network's hosts make of it. */
async function meet(machine: Machine, measurement: Measurement) {
  const network = await createNetwork({ measurement });
  const startedMs = performance.now();
  const enclave = await bootHosted(openEnclave(machine), "slice", network.genesisBytes);
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  console.log(`boot: an enclave's first answer after ${seconds} s`);
  const nonce = new Uint8Array(randomBytes(32));
  const document = await enclave.attest(nonce);
  const governance = genesisState(network.genesisBytes);
  const appraise = (anchors: readonly TrustAnchor[]) =>
    appraiseSession({
      evidence: document,
      manifest: enclave.manifest,
      role: "slice",
      nonce,
      governance,
      anchors,
      at: { mode: "live", nowMs: Date.now() },
    });
  return { network, enclave, document, appraise };
}

/** How an enclave of `machine` ends that is given a job. */
async function refusalOf(machine: Machine, measurement: Measurement): Promise<unknown> {
  const network = await createNetwork({ measurement });
  const data = customerData(["vault-1"], 4);
  const task = await testTask(network, { parameters: AGE_SCORES, data });
  return runSoleTask(task, { end: openEnclave(machine) }).then(
    () => null,
    (error: unknown) => error,
  );
}

function extended(text: string): string {
  return hex(sha384(new Uint8Array(48), utf8(text)));
}

function pcrsOf(document: Uint8Array): (index: number) => string {
  const { anchor } = bootPlatform();
  const at = { mode: "live", nowMs: Date.now() } as const;
  const { pcrs } = verifyNitroDocument(document, [anchor], at).claims;
  return (index) => hex(pcrs.get(index) ?? new Uint8Array(0));
}

describe.skipIf(!canBoot)("the simulator's image, in a machine that signs", () => {
  let image: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("simulator");
    machine = await boot(image, "signing");
  }, 10 * MINUTES);
  afterAll(() => machine.stop());

  test("[RT-1][TT-2] its registers are what the file measures to, and a session starts", async () => {
    const { measurement } = image;
    const { document, appraise, enclave } = await meet(machine, measurement);
    const { anchor, instanceId } = bootPlatform();
    expect(appraise([anchor])).toMatchObject({
      platform: "sim",
      enclave_identity: machine.moduleId,
      measurement: { pcr0: measurement.pcr0, pcr1: measurement.pcr1, pcr2: measurement.pcr2 },
    });
    const pcr = pcrsOf(document);
    expect([0, 1, 2, 8].map(pcr)).toEqual([
      measurement.pcr0,
      measurement.pcr1,
      measurement.pcr2,
      measurement.pcr8Unverified,
    ]);
    expect([3, 4].map(pcr)).toEqual([extended(PARENT_ROLE), extended(instanceId)]);
    expect(enclave.manifest.anchors.map(({ platform }) => platform)).toEqual(["nitro", "sim"]);
    expect(() => appraise([AWS_NITRO_ROOT_G1])).toThrow(
      expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
    );
  });

  test("[RT-1] each connection is an enclave with keys of its own", async () => {
    const network = await createNetwork();
    const enclaves = await Promise.all(
      [1, 2, 3].map(() => bootHosted(openEnclave(machine), "slice", network.genesisBytes)),
    );
    const keysOf = ({ manifest }: HostedEnclave): readonly string[] =>
      [manifest.box_key, manifest.signing_key, manifest.recipient_key].map(hex);
    expect(new Set(enclaves.flatMap(keysOf)).size).toBe(9);
  });
});

describe.skipIf(!canBoot)("the simulator's image, in QEMU as it is", () => {
  let image: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("simulator");
    machine = await boot(image, "stock");
  }, 10 * MINUTES);
  afterAll(() => machine.stop());

  test("[RT-1][TT-2] what its module does not sign starts no session, outside or inside", async () => {
    const { document, appraise } = await meet(machine, image.measurement);
    expect(Buffer.from(document).includes(machine.moduleId)).toBe(true);
    expect(() => appraise([bootPlatform().anchor])).toThrow(
      expect.objectContaining({ code: "TEE_DOCUMENT_MALFORMED" }),
    );
    expect(await refusalOf(machine, image.measurement)).toMatchObject({
      method: "run",
      code: "TEE_DOCUMENT_MALFORMED",
    });
  });
});

describe.skipIf(!canBoot)("production's image with another byte, in a machine that signs", () => {
  let image: BootImage;
  let changed: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("aws");
    changed = await withOtherByte(image, OWN_SOURCE);
    machine = await boot(changed, "signing");
  }, 10 * MINUTES);
  afterAll(() => machine.stop());

  test("[RT-1] one byte of our sources is another PCR0 and PCR2, in the file and in the machine", async () => {
    const { document, appraise } = await meet(machine, image.measurement);
    const { measurement } = changed;
    expect([0, 1, 2].map(pcrsOf(document))).toEqual([
      measurement.pcr0,
      image.measurement.pcr1,
      measurement.pcr2,
    ]);
    expect(measurement.pcr0).not.toBe(image.measurement.pcr0);
    expect(measurement.pcr2).not.toBe(image.measurement.pcr2);
    expect(() => appraise([bootPlatform().anchor])).toThrow(
      expect.objectContaining({ code: "TEE_MEASUREMENT_MISMATCH" }),
    );
  });

  test("[RT-1][RT-3] its enclaves do not trust the development root", async () => {
    const { enclave } = await meet(machine, changed.measurement);
    expect(enclave.manifest.anchors.map(({ platform }) => platform)).toEqual(["nitro"]);
    expect(await refusalOf(machine, changed.measurement)).toMatchObject({
      method: "run",
      code: "TEE_CHAIN_UNTRUSTED",
    });
  });
});
