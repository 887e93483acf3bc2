import { generateKeyPairSync } from "node:crypto";

import { AWS_NITRO_ROOT_G1 } from "../../../../attestation/index.ts";
import { issueCertificate } from "../../../../sim/x509.ts";
import { CHAIN, NOW, authority, forgeChain, forgeDocument } from "../../../attestation/forge.ts";
import { anchorOf, operatedChain } from "./case.ts";
import type { Case } from "./case.ts";

const HOUR = 3_600_000;
/** Keys that are not the platform's. */
export const OTHER_KEYS = generateKeyPairSync("ec", { namedCurve: "P-384" });
const untrusted = { stage: "verify", code: "TEE_CHAIN_UNTRUSTED" } as const;
/** A root of the platform's name with {@link OTHER_KEYS}. */
export const OTHER_ROOT = issueCertificate({
  subject: "SIMULATED root",
  issuer: "SIMULATED root",
  serial: Uint8Array.of(1),
  notBeforeMs: NOW - HOUR,
  notAfterMs: NOW + HOUR,
  publicKey: OTHER_KEYS.publicKey,
  issuerKey: OTHER_KEYS.privateKey,
  extensions: authority(null),
});

/** Category D: roots that are not the pinned one, or not what they are labelled as. */
export function dRoots(): readonly Case[] {
  return [...roots()];
}

/** A whole chain under another root of the same name, as one who is not the platform can make it. */
function roots(): readonly Case[] {
  const below = forgeChain({ 1: { issuerKey: OTHER_KEYS.privateKey } }).slice(1);
  const production = { anchors: [anchorOf(AWS_NITRO_ROOT_G1.certificate, "aws-nitro")] };
  const unmarked = unmarkedChain();
  return [
    {
      title: "another root of the same name",
      document: forgeDocument({ chain: [OTHER_ROOT, ...below] }),
      ...untrusted,
      check: "root-pinned",
    },
    {
      title: "the pinned root with a bit of its signature flipped",
      document: forgeDocument({
        chain: operatedChain(0, { whole: (der) => der.with(-1, (der.at(-1) ?? 0) ^ 1) }),
      }),
      ...untrusted,
      check: "root-pinned",
    },
    {
      title: "another root above the pinned one",
      document: forgeDocument({ chain: [OTHER_ROOT, ...CHAIN] }),
      ...untrusted,
      check: null,
    },
    {
      title: "the simulator's root offered to a production verifier",
      ...production,
      ...untrusted,
      check: null,
    },
    {
      title: "a self-made root offered to a production verifier",
      document: forgeDocument({ chain: unmarked }),
      ...production,
      policy: { platforms: ["aws-nitro"] },
      ...untrusted,
      check: "root-pinned",
    },
    {
      title: "the simulator's root labelled as hardware",
      anchors: [anchorOf(CHAIN[0], "aws-nitro")],
      policy: { platforms: ["aws-nitro"] },
      stage: "verify",
      code: "TEE_PLATFORM_REFUSED",
      check: "anchor-label",
    },
    {
      title: "a root without the mark labelled as the simulator's",
      document: forgeDocument({ chain: unmarked }),
      anchors: [anchorOf(unmarked[0])],
      stage: "verify",
      code: "TEE_PLATFORM_REFUSED",
      check: "anchor-label",
    },
    {
      title: "a root of another format's platform",
      document: forgeDocument({ chain: unmarked }),
      anchors: [anchorOf(unmarked[0], "amd-sev-snp")],
      stage: "verify",
      code: "TEE_PLATFORM_REFUSED",
      check: null,
    },
    {
      title: "no roots at all",
      anchors: [],
      stage: "verify",
      code: "TEE_POLICY_EMPTY",
      check: null,
    },
  ];
}

/** A chain whose root does not say that it is simulated. */
function unmarkedChain(): readonly Uint8Array[] {
  const unmark = (tbs: Uint8Array): Uint8Array => {
    const text = Buffer.from(tbs).toString("latin1").replaceAll("SIMULATED", "SOMETHING");
    return new Uint8Array(Buffer.from(text, "latin1"));
  };
  return [0, 1, 2, 3, 4].reduce<readonly Uint8Array[]>(
    (chain, position) => operatedChain(position, { body: unmark }, chain),
    CHAIN,
  );
}
