import { randomBytes } from "node:crypto";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import {
  AWS_NITRO_ROOT_G1,
  appraiseSession,
  verifyNitroDocument,
  type TrustAnchor,
} from "../../attestation/index.ts";
import { createSocketLauncher } from "../../host/adapters/enclave-socket.ts";
import {
  SESSION_MANIFEST,
  genesisState,
  hex,
  sha384,
  utf8,
  type EnclaveRequest,
  type EnclaveResponse,
  type SessionManifest,
} from "../../protocol/index.ts";
import { bootHosted, codeOf } from "../helpers/enclave-rig.ts";
import { runSoleTask } from "../helpers/enclave-round.ts";
import { launchedEnd } from "../helpers/launched-enclave.ts";
import { customerData } from "../helpers/network-data.ts";
import { testTask } from "../helpers/network-task.ts";
import { createNetwork, type Measurement, type TestNetwork } from "../helpers/network.ts";
import { AGE_SCORES } from "../helpers/sample-parameters.ts";
import type { Machine } from "./machine.ts";
import {
  PARENT_ROLE,
  boot,
  bootImage,
  bootPlatform,
  canBoot,
  withOtherByte,
  type BootImage,
} from "./rig.ts";

/** A processor that is a program is slow, and all the more on a busy machine. */
const SLOW = { timeout: 600_000 };
/** In a comment of `enclave/main.ts`, in the image. */
const OWN_SOURCE = "One process, one job: serves";

/** An enclave of `machine` and what it is asked and answers. */
function listenedTo(machine: Machine) {
  const end = launchedEnd(createSocketLauncher(machine.enclaveSocket).launch("slice"));
  const said: { readonly request: EnclaveRequest; readonly response: EnclaveResponse }[] = [];
  const call = async (request: EnclaveRequest): Promise<EnclaveResponse> => {
    const startedMs = performance.now();
    const response = await end.call(request);
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    console.log(`boot: ${request.method}, ${codeOf(response)} after ${seconds} s`);
    said.push({ request, response });
    return response;
  };
  return { call, said };
}

type Said = ReturnType<typeof listenedTo>["said"];

/** The first document of an enclave, and the nonce that it was asked over. */
function evidenceOf(said: Said): { readonly document: Uint8Array; readonly nonce: Uint8Array } {
  for (const { request, response } of said) {
    if (request.method === "attest" && response.result === "attested") {
      return { document: response.document, nonce: request.nonce };
    }
  }
  throw new Error("no document");
}

function manifestOf(said: Said): SessionManifest {
  for (const { response } of said) {
    if (response.result === "booted") return SESSION_MANIFEST.decode(response.manifest);
  }
  throw new Error("no manifest");
}

/** What a Vault of `network` makes of a slice enclave that it has asked. */
function appraise(said: Said, network: TestNetwork, anchors: readonly TrustAnchor[]) {
  const { document: evidence, nonce } = evidenceOf(said);
  return appraiseSession({
    ...{ evidence, nonce, anchors, role: "slice", manifest: manifestOf(said) },
    governance: genesisState(network.genesisBytes),
    at: { mode: "live", nowMs: Date.now() },
  });
}

/** A network that takes enclaves of an image with these registers. */
function networkOf({ pcr0, pcr1, pcr2 }: Measurement): Promise<TestNetwork> {
  return createNetwork({ measurement: { pcr0, pcr1, pcr2 } });
}

/** Gives a task to a new enclave of `machine`, which is to refuse it. */
async function refusedTask(machine: Machine, measurement: Measurement) {
  const network = await networkOf(measurement);
  const data = customerData(["vault-1"], 4);
  const task = await testTask(network, { parameters: AGE_SCORES, data });
  const end = listenedTo(machine);
  await runSoleTask(task, { end }).catch(() => undefined);
  const { request, response } = end.said.at(-1) ?? {};
  return { network, said: end.said, refused: [request?.method, response && codeOf(response)] };
}

function extended(text: string): string {
  return hex(sha384(new Uint8Array(48), utf8(text)));
}

/** Registers by index, of the document of an enclave whose machine signs. */
function pcrsOf(said: Said): (index: number) => string {
  const { anchor } = bootPlatform();
  const { document } = evidenceOf(said);
  const at = { mode: "live", nowMs: Date.now() } as const;
  const { pcrs } = verifyNitroDocument(document, [anchor], at).claims;
  return (index) => hex(pcrs.get(index) ?? new Uint8Array(0));
}

/** Whose roots an enclave says that it trusts. */
function platformsOf(said: Said): readonly string[] {
  return manifestOf(said).anchors.map(({ platform }) => platform);
}

describe.skipIf(!canBoot)("the simulator's image, in a machine that signs", () => {
  let image: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("simulator");
    machine = await boot(image, "signing");
  }, SLOW.timeout);
  afterAll(() => machine.stop());

  test(
    "[RT-1][TT-2] its registers are what the file measures to, and sessions start",
    SLOW,
    async () => {
      const { measurement } = image;
      const network = await networkOf(measurement);
      const enclaves = [listenedTo(machine), listenedTo(machine)];
      const hosted = await Promise.all(
        enclaves.map(async (end) => {
          const enclave = await bootHosted(end, "slice", network.genesisBytes);
          await enclave.attest(new Uint8Array(randomBytes(32)));
          return enclave;
        }),
      );
      const { anchor, instanceId } = bootPlatform();
      const { pcr0, pcr1, pcr2, pcr8Unverified } = measurement;
      for (const { said } of enclaves) {
        expect(appraise(said, network, [anchor])).toMatchObject({
          platform: "sim",
          enclave_identity: machine.moduleId,
          measurement: { pcr0, pcr1, pcr2 },
        });
        const pcr = pcrsOf(said);
        expect([0, 1, 2, 8].map(pcr)).toEqual([pcr0, pcr1, pcr2, pcr8Unverified]);
        expect([3, 4].map(pcr)).toEqual([extended(PARENT_ROLE), extended(instanceId)]);
        expect(platformsOf(said)).toEqual(["aws-nitro", "sim"]);
        expect(() => appraise(said, network, [AWS_NITRO_ROOT_G1])).toThrow(
          expect.objectContaining({ code: "TEE_CHAIN_UNTRUSTED" }),
        );
      }
      // Each connection is an enclave with keys of its own.
      const keys = hosted.flatMap(({ manifest }) => [
        hex(manifest.box_key),
        hex(manifest.signing_key),
        hex(manifest.recipient_key),
      ]);
      expect(new Set(keys).size).toBe(6);
    },
  );
});

describe.skipIf(!canBoot)("the simulator's image, in QEMU as it is", () => {
  let image: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("simulator");
    machine = await boot(image, "stock");
  }, SLOW.timeout);
  afterAll(() => machine.stop());

  test(
    "[RT-1][TT-2] what its module does not sign starts no session, outside or inside",
    SLOW,
    async () => {
      const { network, said, refused } = await refusedTask(machine, image.measurement);
      expect(Buffer.from(evidenceOf(said).document).includes(machine.moduleId)).toBe(true);
      expect(() => appraise(said, network, [bootPlatform().anchor])).toThrow(
        expect.objectContaining({ code: "TEE_DOCUMENT_MALFORMED" }),
      );
      expect(refused).toEqual(["run", "TEE_DOCUMENT_MALFORMED"]);
    },
  );
});

describe.skipIf(!canBoot)("production's image with another byte, in a machine that signs", () => {
  let image: BootImage;
  let changed: BootImage;
  let machine: Machine;
  beforeAll(async () => {
    image = await bootImage("aws");
    changed = await withOtherByte(image, OWN_SOURCE);
    machine = await boot(changed, "signing");
  }, SLOW.timeout);
  afterAll(() => machine.stop());

  test(
    "[RT-1][RT-3] has other registers, and its enclaves do not trust the development root",
    SLOW,
    async () => {
      const { network, said, refused } = await refusedTask(machine, image.measurement);
      const { pcr0, pcr1, pcr2 } = changed.measurement;
      expect([0, 1, 2].map(pcrsOf(said))).toEqual([pcr0, pcr1, pcr2]);
      expect(pcr0).not.toBe(image.measurement.pcr0);
      expect(pcr1).toBe(image.measurement.pcr1);
      expect(pcr2).not.toBe(image.measurement.pcr2);
      expect(() => appraise(said, network, [bootPlatform().anchor])).toThrow(
        expect.objectContaining({ code: "TEE_MEASUREMENT_MISMATCH" }),
      );
      expect(platformsOf(said)).toEqual(["aws-nitro"]);
      expect(refused).toEqual(["run", "TEE_CHAIN_UNTRUSTED"]);
    },
  );
});
