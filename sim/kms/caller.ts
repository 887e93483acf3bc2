import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";

import { z } from "zod";

import { MalformedError } from "#protocol";

import { KmsFault } from "./fault.ts";

/** The account of the simulated KMS. */
export const SIM_ACCOUNT = "000000000000";
/** Where the simulated KMS says it is. */
export const SIM_REGION = "sim-local-1";

const credentialsSchema = z.record(
  z.string().min(1),
  z.strictObject({ secret_access_key: z.string().min(1), principal_arn: z.string().min(1) }),
);
/** Whose access keys are known: by access key id, the secret and the principal's ARN. */
export type Credentials = z.infer<typeof credentialsSchema>;

/** A request as far as its signature covers it. */
export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Uint8Array;
}

/** How far a signature's time may be off (AWS general reference, "Elements of a request signature"). */
const SKEW_MS_MAX = 300_000;
/** Without its target a request of one operation would be one of every other. */
const COVERED = ["host", "x-amz-date", "x-amz-target"];
const SCHEME =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

/**
 * Reads a file of credentials: `{"AKID": {"secret_access_key": "...", "principal_arn": "arn:..."}}`.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED
 */
export function readCredentials(path: string): Credentials {
  const text = readFileSync(path, "utf8");
  try {
    return credentialsSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new MalformedError(
      { code: "SCHEMA_CONFIG_MALFORMED", path },
      `${path}: expected access keys, each with secret_access_key and principal_arn`,
      { cause },
    );
  }
}

/**
 * The ARN of who signed `request`.
 *
 * Without `credentials`, the access key id is believed: it names a user of the simulator's account, and the
 * signature is not looked at. With them, the Signature Version 4 is verified: of this request and
 * its target, for `kms` in {@link SIM_REGION}, at most five minutes old.
 *
 * @throws {@link KmsFault} MissingAuthenticationTokenException, UnrecognizedClientException,
 * InvalidSignatureException
 * @see AWS IAM user guide, "AWS Signature Version 4 for API requests"
 */
export function identifyCaller(
  request: SignedRequest,
  credentials: Credentials | null,
  nowMs: number,
): string {
  const authorization = header(request, "authorization");
  if (authorization === "") {
    throw new KmsFault("MissingAuthenticationTokenException", "expected an Authorization header");
  }
  const parts = SCHEME.exec(authorization);
  if (parts === null) {
    throw new KmsFault("InvalidSignatureException", "expected a Signature Version 4");
  }
  const [, accessKeyId = "", day = "", region = "", service = "", names = "", given = ""] = parts;
  if (credentials === null) return `arn:aws:iam::${SIM_ACCOUNT}:user/${accessKeyId}`;
  const known = Object.hasOwn(credentials, accessKeyId) ? credentials[accessKeyId] : undefined;
  if (known === undefined) {
    throw new KmsFault("UnrecognizedClientException", "the access key is not known");
  }
  const time = header(request, "x-amz-date");
  const scope = [day, region, service, "aws4_request"];
  const canonical = canonicalRequest(request, names);
  const toSign = ["AWS4-HMAC-SHA256", time, scope.join("/"), sha256(canonical)].join("\n");
  const key = scope.reduce(hmac, Buffer.from(`AWS4${known.secret_access_key}`));
  const isSigned = timingSafeEqual(hmac(key, toSign), Buffer.from(given, "hex"));
  const isCovered = COVERED.every((name) => names.split(";").includes(name));
  const isForHere = service === "kms" && region === SIM_REGION;
  const isNow = isForHere && time.startsWith(day) && Math.abs(msOf(time) - nowMs) <= SKEW_MS_MAX;
  if (!isSigned || !isCovered || !isNow) {
    throw new KmsFault("InvalidSignatureException", "the signature is not of this request, now");
  }
  return known.principal_arn;
}

function canonicalRequest(request: SignedRequest, names: string): string {
  const headers = names
    .split(";")
    .map((name) => `${name}:${header(request, name).trim().replaceAll(/ +/g, " ")}\n`);
  const { method, path, body } = request;
  return [method, path, "", headers.join(""), names, sha256(body)].join("\n");
}

function header({ headers }: SignedRequest, name: string): string {
  const value = headers[name];
  return typeof value === "string" ? value : "";
}

/** `20260102T030405Z` in milliseconds, or NaN. */
function msOf(time: string): number {
  const iso = time.replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5");
  return Date.parse(iso);
}

function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: Uint8Array, data: string): Buffer {
  return createHmac("sha256", key).update(data).digest();
}
