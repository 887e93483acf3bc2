import { generateKeyPairSync, type KeyObject } from "node:crypto";

import { encodeCbor, utf8 } from "../../../../protocol/index.ts";
import { signCose } from "../../../../sim/cose.ts";
import { basicConstraints, keyUsage } from "../../../../sim/x509.ts";
import {
  ANCHOR,
  CHAIN,
  LEAF_EXTENSIONS,
  NOW,
  authority,
  forgeChain,
  forgeDocument,
  keyAt,
  type ChainChanges,
} from "../../../attestation/forge.ts";
import { GENUINE_BASE, anchorOf, replaced, splitDocument } from "./case.ts";
import type { Case } from "./case.ts";
import { OTHER_KEYS as other, OTHER_ROOT } from "./d-roots.ts";

const HOUR = 3_600_000;
const untrusted = { stage: "verify", code: "TEE_CHAIN_UNTRUSTED" } as const;
const malformed = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;
const early = {
  stage: "verify",
  code: "TEE_CERTIFICATE_NOT_YET_VALID",
  check: "certificate-not-before",
} as const;
const late = {
  stage: "verify",
  code: "TEE_CERTIFICATE_EXPIRED",
  check: "certificate-not-after",
} as const;
const anyAge = { maxAgeMs: { unchecked: "not what this vector is about" } };

/** Category D: chains. What one certificate looks like in itself is in `d-certificate.ts`. */
export function dChain(hasGenuine: boolean): readonly Case[] {
  return [
    ...links(),
    ...authorities(),
    ...leaves(),
    ...validity(),
    ...keys(),
    ...orders(),
    ...(hasGenuine ? genuineTimes() : []),
  ];
}

function changed(changes: ChainChanges): Uint8Array {
  return forgeDocument({ chain: forgeChain(changes) });
}

function links(): readonly Case[] {
  return [1, 2, 3, 4].flatMap((position) => [
    {
      title: `certificate ${position} signed by another key`,
      document: changed({ [position]: { issuerKey: other.privateKey } }),
      ...untrusted,
      check: "issuer-signature",
    },
    {
      title: `certificate ${position} with another issuer's name`,
      document: changed({ [position]: { issuer: "someone else" } }),
      ...untrusted,
      check: "issuer-name",
    },
  ]);
}

function authorities(): readonly Case[] {
  const usage = (bits: number) => keyUsage(bits, { critical: true });
  const three = { 1: { extensions: authority(3) }, 2: { extensions: authority(3) } };
  const wide: ChainChanges = { ...three, 3: { extensions: authority(1) } };
  const issued = forgeChain({ 4: { subject: "below", issuer: "leaf", issuerKey: keyAt(4) } })[4];
  const noneAt = (position: number, pathLength: number) =>
    changed({ [position]: { extensions: [basicConstraints({ pathLength }), usage(0x82)] } });
  return [
    ...[1, 2, 3].flatMap((position) => [
      {
        title: `certificate ${position} without keyCertSign`,
        document: noneAt(position, 3 - position),
        ...untrusted,
        check: "authority-key-cert-sign",
      },
      {
        title: `certificate ${position} that is no authority`,
        document: changed({ [position]: { extensions: [basicConstraints(null), usage(0x86)] } }),
        ...untrusted,
        check: "authority",
      },
    ]),
    {
      title: "a leaf that issues another leaf",
      document: forgeDocument({ chain: [...forgeChain(wide), issued ?? utf8("")] }),
      ...untrusted,
      check: null,
    },
    {
      title: "a leaf with keyCertSign that issues another leaf",
      document: forgeDocument({ chain: leafAsAuthority(wide, issued ?? utf8("")) }),
      ...untrusted,
      check: "authority",
    },
    ...[0, 1, 2].map((position) => ({
      title: `certificate ${position} with a path length of one too few`,
      ...pathLengthAt(position, 2 - position),
      ...untrusted,
      check: "path-length",
    })),
    {
      title: "certificate 1 with a path length of 0",
      document: changed({ 1: { extensions: authority(0) } }),
      ...untrusted,
      check: "path-length",
    },
  ];
}

function pathLengthAt(position: number, pathLength: number): Pick<Case, "document" | "anchors"> {
  const chain = forgeChain({ [position]: { extensions: authority(pathLength) } });
  // The root may be followed by three, certificate 1 by two, certificate 2 by one; each has one too few here.
  const document = forgeDocument({ chain });
  return position === 0 ? { document, anchors: [anchorOf(chain[0])] } : { document };
}

function leafAsAuthority(changes: ChainChanges, issued: Uint8Array): readonly Uint8Array[] {
  const extensions = [basicConstraints(null), keyUsage(0x84, { critical: false })];
  return [...forgeChain({ ...changes, 4: { extensions } }), issued];
}

function leaves(): readonly Case[] {
  const usage = (bits: number) => [basicConstraints(null), keyUsage(bits, { critical: false })];
  const leaf = (extensions: ReturnType<typeof usage>) => changed({ 4: { extensions } });
  const authorityLeaf = [
    basicConstraints({ pathLength: null }),
    keyUsage(0x80, { critical: true }),
  ];
  return [
    {
      title: "a leaf that is an authority",
      document: leaf(authorityLeaf),
      ...untrusted,
      check: "leaf-no-authority",
    },
    {
      title: "a leaf that is an authority with a path length",
      document: leaf([basicConstraints({ pathLength: 0 }), keyUsage(0x80, { critical: true })]),
      ...untrusted,
      check: "leaf-no-authority",
    },
    {
      title: "a leaf without digitalSignature",
      document: leaf(usage(0x40)),
      ...untrusted,
      check: "leaf-digital-signature",
    },
    {
      title: "a leaf for key agreement",
      document: leaf(usage(0x08)),
      ...untrusted,
      check: "leaf-digital-signature",
    },
    {
      title: "a leaf with keyCertSign",
      document: leaf(usage(0x84)),
      ...untrusted,
      check: "leaf-no-key-cert-sign",
    },
  ];
}

function validity(): readonly Case[] {
  const second = 1000;
  const whole = Math.floor(NOW / second) * second;
  const root = (life: ChainChanges[0]) => forgeChain({ 0: { ...life } });
  const [young, old] = [
    root({ notBeforeMs: whole + second }),
    root({ notAfterMs: whole - second }),
  ];
  return [
    ...[1, 2, 3, 4].flatMap((position) => [
      {
        title: `certificate ${position} a second too early`,
        document: changed({ [position]: { notBeforeMs: whole + second } }),
        ...early,
      },
      {
        title: `certificate ${position} a second too late`,
        document: changed({ [position]: { notAfterMs: whole - second } }),
        ...late,
      },
    ]),
    {
      title: "the root a second too early",
      document: forgeDocument({ chain: young }),
      anchors: [anchorOf(young[0])],
      ...early,
    },
    {
      title: "the root a second too late",
      document: forgeDocument({ chain: old }),
      anchors: [anchorOf(old[0])],
      ...late,
    },
    {
      title: "live, a leaf that has ended since it signed",
      at: { mode: "live", nowMs: NOW + 3 * HOUR + second },
      policy: anyAge,
      ...late,
    },
    {
      title: "live, a leaf that had not begun when it signed",
      document: changed({ 4: { notBeforeMs: whole + second } }),
      at: { mode: "live", nowMs: NOW + 2 * second },
      ...early,
    },
    {
      title: "live, a time before every certificate",
      at: { mode: "live", nowMs: 0 },
      policy: anyAge,
      ...early,
    },
    ...[3, 12].map((hours) => ({
      title: `a chain seen before of which a certificate has ended after ${hours} hours`,
      warm: true,
      at: { mode: "live" as const, nowMs: NOW + hours * HOUR + second },
      policy: anyAge,
      ...late,
    })),
    {
      title: "a chain seen before under a root no longer trusted",
      warm: true,
      anchors: [anchorOf(OTHER_ROOT)],
      ...untrusted,
      check: "root-pinned",
    },
    {
      title: "a chain seen before, and another document's signature",
      warm: true,
      document: signCose(splitDocument(forgeDocument()).payload, other.privateKey),
      stage: "verify",
      code: "TEE_SIGNATURE_INVALID",
      check: "document-signature",
    },
  ];
}

/** Keys other than P-384, where the rest of the document would still hold. */
function keys(): readonly Case[] {
  const brainpool = generateKeyPairSync("ec", { namedCurve: "brainpoolP384r1" });
  const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const issuing = (publicKey: KeyObject, issuerKey: KeyObject): Uint8Array =>
    changed({ 3: { publicKey }, 4: { issuerKey } });
  const leafKey = { publicKey: brainpool.publicKey };
  const chain = forgeChain({ 4: leafKey });
  return [
    {
      title: "a leaf with a key on another curve of 384 bits",
      document: forgeDocument({ chain, key: brainpool.privateKey }),
      ...malformed,
      check: "key-algorithm",
    },
    {
      title: "an intermediate with a P-256 key",
      document: issuing(p256.publicKey, p256.privateKey),
      ...malformed,
      check: "key-algorithm",
    },
    {
      title: "an intermediate with an RSA key",
      document: issuing(rsa.publicKey, rsa.privateKey),
      ...malformed,
      check: null,
    },
    ...[1, 2, 3, 4].map((position) => ({
      title: `certificate ${position} signed with SHA-256`,
      document: changed({ [position]: { hash: "sha256" } }),
      ...malformed,
      check: null,
    })),
    {
      title: "another document's leaf",
      document: replacedLeaf(),
      stage: "verify",
      code: "TEE_SIGNATURE_INVALID",
      check: "document-signature",
    },
  ];
}

/** The leaf of another enclave of the instance in a document that is signed with the key of its own. */
function replacedLeaf(): Uint8Array {
  const leaf = forgeChain({ 4: { publicKey: other.publicKey, extensions: LEAF_EXTENSIONS } })[4];
  const { payload } = splitDocument(forgeDocument());
  const changedPayload = replaced(payload, encodeCbor(CHAIN[4] ?? null), encodeCbor(leaf ?? null));
  return signCose(changedPayload, keyAt(4));
}

function orders(): readonly Case[] {
  const twice = { ...untrusted, check: "certificate-once" };
  const lists: readonly (readonly [string, readonly number[]])[] = [
    ["an intermediate missing", [0, 1, 3, 4]],
    ["the regional certificate missing", [0, 2, 3, 4]],
    ["an intermediate doubled", [0, 1, 2, 2, 3, 4]],
    ["the bundle reversed", [3, 2, 1, 0, 4]],
    ["the leaf as an authority of itself", [0, 1, 2, 3, 4, 4]],
    ["the instance's certificate as the leaf", [0, 1, 2, 3]],
  ];
  return [
    ...[2, 3].map((count) => ({
      title: `the root ${count} times`,
      document: ordered([...Array.from({ length: count }, () => 0), 1, 2, 3, 4]),
      ...twice,
    })),
    ...lists.map(([title, order]) => ({
      title,
      document: ordered(order),
      ...untrusted,
      check: null,
    })),
  ];
}

function ordered(order: readonly number[]): Uint8Array {
  return forgeDocument({ chain: order.map((position) => CHAIN[position] ?? utf8("")) });
}

/** The first and last second of a genuine leaf. */
function genuineTimes(): readonly Case[] {
  const policy = { judgedAtMs: 1_665_651_482_136, ...anyAge };
  const live = (nowMs: number) => ({ at: { mode: "live" as const, nowMs }, policy });
  return [
    { title: "a second before the leaf's first", ...live(1_665_651_478_000), ...early },
    { title: "a second after the leaf's last", ...live(1_665_662_283_000), ...late },
    { title: "years later", ...live(1_767_225_600_000), ...late },
    {
      title: "years later, with its chain seen before",
      warm: true,
      ...live(1_767_225_600_000),
      ...late,
    },
    {
      title: "offered to one who trusts a simulator only",
      anchors: [anchorOf(ANCHOR.certificate)],
      ...untrusted,
      check: null,
    },
  ].map((each) => ({ ...each, base: GENUINE_BASE }));
}
