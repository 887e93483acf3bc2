import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { parseAnchor, type TrustAnchor } from "#attestation";
import { MalformedError, concat, fromBase64, fromHex, hex, sha256, base64 } from "#protocol";

import { basicConstraints, issueCertificate, keyUsage } from "./x509.ts";

/** A signing key and the certificates above it, root first. */
export interface SimIdentity {
  readonly key: KeyObject;
  readonly chain: readonly Uint8Array[];
}

/** What a leaf is issued for: its enclave, and the time now. */
export interface LeafRequest {
  readonly moduleId: string;
  readonly nowMs: number;
}

interface Authority {
  readonly subject: string;
  readonly key: KeyObject;
  readonly chain: readonly Uint8Array[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Life of a leaf: 10 803 s from 3 s before its issue, as AWS does. */
export const LEAF_LIFE_MS = 10_803_000;
const LEAF_BACKDATED_MS = 3000;
const ROOT_NAME = "SIMULATED sim.nitro-enclaves root";
/** Fixed, so that creating a root needs no clock: 2020-01-01 to 2049-12-31. */
const ROOT_LIFE = { notBeforeMs: 1_577_836_800_000, notAfterMs: 2_524_607_999_000 } as const;
const REGION = "sim-local-1";
/** Life and path length of what stands between root and leaf, as measured on genuine documents. */
const LEVELS = [
  { name: "regional", lifeMs: 20 * DAY_MS, pathLength: 2 },
  { name: "zonal", lifeMs: 6 * DAY_MS, pathLength: 1 },
  { name: "instance", lifeMs: DAY_MS, pathLength: 0 },
] as const;

const fileSchema = z.strictObject({
  warning: z.string(),
  key_pkcs8: z.base64(),
  certificate: z.base64(),
});

/**
 * A make-believe platform: a root of trust in a file of this machine. Its evidence proves nothing about hardware.
 *
 * @deprecated For development and tests only; a production verifier has no anchor for it.
 */
export class InsecureSimPlatform {
  readonly anchor: TrustAnchor;
  /** The root certificate, DER, in a file of its own: what an enclave is given to pin. */
  readonly anchorPath: string;
  readonly #root: Authority;
  readonly #authorities = new Map<string, Authority>();

  constructor(directory: string, root: { key: KeyObject; certificate: Uint8Array }) {
    this.anchor = parseAnchor(root.certificate);
    this.anchorPath = join(directory, "sim-root.der");
    const chain = [root.certificate];
    this.#root = { subject: ROOT_NAME, key: root.key, chain, ...ROOT_LIFE };
  }

  /** The id of this platform's one instance: `i-` and 16 hex digits that follow from the root. */
  get instanceId(): string {
    return `i-${hex(sha256(this.anchor.certificate)).slice(0, 16)}`;
  }

  /** Names a new enclave of this instance. `enclaveId` is 8 random bytes. */
  moduleId(enclaveId: Uint8Array): string {
    return `${this.instanceId}-enc${hex(enclaveId.subarray(0, 8)).padStart(16, "0")}`;
  }

  /**
   * Issues a leaf key and certificate for an enclave, under regional, zonal and instance certificates that
   * are issued once and kept while they have four hours to live.
   */
  issueLeaf({ moduleId, nowMs }: LeafRequest): SimIdentity {
    const [instanceId = "", enclave = ""] = moduleId.split("-enc");
    const issuer = this.#instance(instanceId, nowMs);
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const notBeforeMs = Math.floor((nowMs - LEAF_BACKDATED_MS) / 1000) * 1000;
    const seconds = Math.floor(nowMs / 1000)
      .toString(16)
      .padStart(16, "0");
    const certificate = issueCertificate({
      subject: `${moduleId}.${REGION}.simulated`,
      issuer: issuer.subject,
      serial: fromHex(`${/^[0-9a-f]{16}$/.test(enclave) ? enclave : "00"}${seconds}`),
      notBeforeMs,
      notAfterMs: notBeforeMs + LEAF_LIFE_MS,
      publicKey,
      issuerKey: issuer.key,
      extensions: [basicConstraints(null), keyUsage(0xc0, { critical: false })],
    });
    return { key: privateKey, chain: [...issuer.chain, certificate] };
  }

  #instance(instanceId: string, nowMs: number): Authority {
    return LEVELS.reduce((issuer: Authority, level): Authority => {
      const subject =
        level.name === "instance"
          ? `SIMULATED ${instanceId}.${REGION}.sim.nitro-enclaves`
          : `SIMULATED ${level.name}.${REGION}.sim.nitro-enclaves`;
      const known = this.#authorities.get(subject);
      const usable =
        known !== undefined &&
        known.chain[known.chain.length - 2] === issuer.chain[issuer.chain.length - 1] &&
        nowMs >= known.notBeforeMs &&
        nowMs <= known.notAfterMs - 4 * HOUR_MS;
      if (usable) return known;
      const made = issueAuthority(issuer, { subject, nowMs, ...level });
      this.#authorities.set(subject, made);
      return made;
    }, this.#root);
  }
}

/**
 * Opens the simulated platform kept in `directory`, creating it first when there is none.
 *
 * The root key is a file with mode 0600. Two processes that create it at once end with the same one.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED when the file is no platform's.
 * @deprecated For development and tests only.
 */
export function createInsecureSimPlatform(directory: string): InsecureSimPlatform {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, "sim-platform.json");
  const root = readRoot(path) ?? readRoot(writeRoot(path));
  if (root === null) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", path },
      "simulated platform: expected the file just written, got none",
    );
  }
  const platform = new InsecureSimPlatform(directory, root);
  publish(platform.anchorPath, root.certificate);
  return platform;
}

function readRoot(path: string): { key: KeyObject; certificate: Uint8Array } | null {
  const text = readTextOrNull(path);
  if (text === null) return null;
  try {
    const { key_pkcs8, certificate } = fileSchema.parse(JSON.parse(text));
    chmodSync(path, 0o600);
    const key = createPrivateKey({
      key: Buffer.from(key_pkcs8, "base64"),
      format: "der",
      type: "pkcs8",
    });
    return { key, certificate: fromBase64(certificate) };
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", path },
      "simulated platform: expected a root key and certificate, got another file",
      { cause },
    );
  }
}

function writeRoot(path: string): string {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const certificate = issueCertificate({
    subject: ROOT_NAME,
    issuer: ROOT_NAME,
    serial: keyId(publicKey).subarray(0, 16),
    ...ROOT_LIFE,
    publicKey,
    issuerKey: privateKey,
    extensions: [
      basicConstraints({ pathLength: null }),
      subjectKeyId(publicKey),
      keyUsage(0x86, { critical: true }),
    ],
  });
  const file = {
    warning: "SIMULATED platform: its evidence proves nothing about hardware",
    key_pkcs8: privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
    certificate: base64(certificate),
  };
  publish(path, Buffer.from(`${JSON.stringify(file, null, 2)}\n`));
  return path;
}

/** Writes a file whole, or leaves the one that is there. */
function publish(path: string, bytes: Uint8Array): void {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, bytes, { mode: 0o600 });
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (!isCode(error, "EEXIST")) throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

function readTextOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isCode(error, "ENOENT")) return null;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function issueAuthority(
  issuer: Authority,
  level: { subject: string; nowMs: number; lifeMs: number; pathLength: number },
): Authority {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const notBeforeMs = Math.floor((level.nowMs - level.lifeMs / 4) / 1000) * 1000;
  const life = { notBeforeMs, notAfterMs: notBeforeMs + level.lifeMs };
  const certificate = issueCertificate({
    subject: level.subject,
    issuer: issuer.subject,
    serial: keyId(publicKey).subarray(0, 16),
    ...life,
    publicKey,
    issuerKey: issuer.key,
    extensions: [
      basicConstraints({ pathLength: level.pathLength }),
      subjectKeyId(publicKey),
      keyUsage(0x86, { critical: true }),
    ],
  });
  const chain = [...issuer.chain, certificate];
  return { subject: level.subject, key: privateKey, chain, ...life };
}

function keyId(key: KeyObject): Uint8Array {
  return sha256(key.export({ format: "der", type: "spki" })).subarray(0, 20);
}

function subjectKeyId(key: KeyObject): { oid: string; critical: boolean; value: Uint8Array } {
  return { oid: "551d0e", critical: false, value: concat(Uint8Array.of(0x04, 20), keyId(key)) };
}
