import { createChainCache, type JudgedAt } from "../../../attestation/index.ts";
import { changeDer, readDer, writeDer } from "../der-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";

/** The codes with which a path of certificates is refused. */
export const PATH_CODES = [
  "TEE_CHAIN_MALFORMED",
  "TEE_CHAIN_UNTRUSTED",
  "TEE_CERTIFICATE_EXPIRED",
  "TEE_CERTIFICATE_NOT_YET_VALID",
] as const;

/** The steps of `verifyPath`. */
export const PATH_STAGES = [
  { name: "certificates", functions: ["parseCertificate"] },
  {
    name: "path",
    functions: [
      "verifyPath",
      "verifyAnchored",
      "verifyValidity",
      "verifyAuthority",
      "verifyIssued",
      "verifyOnce",
      "verifyLeaf",
    ],
  },
] as const;

/** Live at `nowMs`, with a warm chain cache for most inputs. */
export function alternating(nowMs: number): (input: Uint8Array) => JudgedAt {
  const chainCache = createChainCache({ entriesMax: 64 });
  return (input) =>
    (input.length + (input.at(-1) ?? 0)) % 16 === 0
      ? { mode: "live", nowMs }
      : { mode: "live", nowMs, chainCache };
}

/** A certificate with a change anywhere in its tree or bytes; its signature stays. */
export function changedCertificate(random: Random, certificate: Uint8Array): Uint8Array {
  const [tree] = readDer(certificate);
  if (tree === undefined || random.once(4)) return mutate(random, certificate);
  return writeDer(changeDer(random, tree));
}
