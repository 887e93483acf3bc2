import { z } from "zod";

import type { TrustAnchor } from "#attestation";

import { authorize, type KeyRequest } from "./authorize.ts";
import { KmsFault } from "./fault.ts";
import type { KeySpec, KeyUsage, SimKey, SimKeyStore } from "./keys.ts";

/** What the operations of a simulated KMS work on. */
export interface Service {
  readonly keys: SimKeyStore;
  readonly anchors: readonly TrustAnchor[];
  readonly nowMs: () => number;
  readonly random: (bytes: number) => Uint8Array;
}

/** One call: the service, who asks, and the JSON of the request, not yet parsed. */
export interface Call {
  readonly service: Service;
  readonly principalArn: string;
  readonly request: unknown;
}

/** An operation of the KMS API: the JSON of its response. */
export type Operation = (call: Call) => object | Promise<object>;

/** A key id or ARN. */
export const keyIdSchema = z.string().min(1).max(2048);

/** @throws {@link KmsFault} ValidationException */
export function parse<T>(schema: z.ZodType<T>, request: unknown): T {
  const parsed = schema.safeParse(request);
  if (parsed.success) return parsed.data;
  throw new KmsFault("ValidationException", z.prettifyError(parsed.error).slice(0, 500));
}

/** @throws {@link KmsFault} NotFoundException, also once the waiting time of a deletion is over. */
export function findKey({ service }: Call, id: string): SimKey {
  const key = service.keys.find(id);
  if (key !== undefined && (key.deletionMs === null || key.deletionMs > service.nowMs())) {
    return key;
  }
  if (key !== undefined) service.keys.delete(key);
  throw new KmsFault("NotFoundException", "no such key");
}

/**
 * The key `id`, if its policy allows `action` to the caller.
 *
 * @throws {@link KmsFault} NotFoundException, AccessDeniedException
 */
export function allowedKey(
  call: Call,
  id: string,
  request: Omit<KeyRequest, "principalArn">,
): SimKey {
  const key = findKey(call, id);
  authorize(key, { ...request, principalArn: call.principalArn });
  return key;
}

/**
 * Lets pass a key that can be used as `wanted` says.
 *
 * @throws {@link KmsFault} DisabledException, KMSInvalidStateException, InvalidKeyUsageException,
 * UnsupportedOperationException
 */
export function expectUsable(
  { state, usage, spec }: SimKey,
  wanted: { readonly usage: KeyUsage; readonly spec?: KeySpec },
): void {
  if (state === "Disabled") throw new KmsFault("DisabledException", "the key is disabled");
  if (state !== "Enabled") {
    throw new KmsFault("KMSInvalidStateException", "the key is pending deletion");
  }
  if (usage !== wanted.usage) {
    throw new KmsFault("InvalidKeyUsageException", `the key is for ${usage}`);
  }
  if (wanted.spec !== undefined && spec !== wanted.spec) {
    throw new KmsFault("UnsupportedOperationException", `a ${spec} key has no such operation`);
  }
}
