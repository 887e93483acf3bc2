import { z } from "zod";

import { equalBytes } from "./bytes.ts";
import { decodeCbor, encodeCbor, type CborValue } from "./cbor.ts";
import { MalformedError, VerificationError } from "./errors.ts";
import { bytes32 } from "./fields.ts";
import { digestOfBytes } from "./hash.ts";
import { leafHash } from "./merkle.ts";
import { parseWith } from "./object.ts";
import { parseCose, signCose, verifyCose, type SigningKey } from "./signing.ts";

/** The largest signed event: 1 MiB. Larger matter is committed to by digest. */
export const EVENT_BYTES_MAX = 1024 * 1024;

const DIGEST_BYTES = 32;
const CONTENT_TYPE = "event";

function isCbor(value: unknown): boolean {
  try {
    encodeCbor(z.custom<CborValue>().parse(value));
    return true;
  } catch {
    return false;
  }
}

/**
 * One event of an actor's log, in the log's own order.
 *
 * `type` names what happened, in lower-case words joined by dots, digits, hyphens or underscores. `sequence` counts from 0 without
 * gaps. `previous` is {@link eventDigest} of the event before, 32 zero bytes for the first. `body` is anything that
 * canonical CBOR carries; its shape belongs to `type`.
 */
export const eventSchema = z.strictObject({
  type: z.string().regex(/^[a-z][a-z0-9._-]{0,63}$/),
  actor_id: z.string().min(1).max(128),
  sequence: z.int().min(0),
  time_ms: z.int().min(0),
  task_id: z.string().min(1).max(128).nullable(),
  previous: bytes32,
  body: z.custom<CborValue>(isCbor),
});

/** An event; see {@link eventSchema}. */
export type LogEvent = z.infer<typeof eventSchema>;

/** The `previous` of the first event of a log: 32 zero bytes, a fresh array each time. */
export function noPreviousEvent(): Uint8Array {
  return new Uint8Array(DIGEST_BYTES);
}

/**
 * Signs one event: a COSE_Sign1 with content type `event` over its canonical bytes.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED when `event` does not fit {@link eventSchema}.
 */
export function signEvent(event: LogEvent, key: SigningKey): Uint8Array {
  const payload = encodeCbor({ ...parseShape(event) });
  return signCose({ contentType: CONTENT_TYPE, payload, key });
}

/**
 * Parses a signed event without verifying it, for those who must first look up the actor's key.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED, SCHEMA_MALFORMED
 */
export function parseEvent(bytes: Uint8Array): LogEvent {
  const { contentType, payload } = parseCose(bytes, EVENT_BYTES_MAX);
  if (contentType !== CONTENT_TYPE) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", contentType },
      `event: expected content type ${CONTENT_TYPE}, got ${contentType}`,
    );
  }
  return parseShape(decodeCbor(payload, EVENT_BYTES_MAX));
}

/**
 * Verifies that `publicKey` signed an event, and returns it.
 *
 * Does not say that the key is the one of `actor_id`, nor that the event belongs where it stands: the registry
 * answers the first, {@link verifyEventOrder} and the log's Merkle tree the second.
 *
 * @throws {@link LimitError} SCHEMA_TOO_LARGE above {@link EVENT_BYTES_MAX}.
 * @throws {@link MalformedError} SCHEMA_CBOR_MALFORMED, SCHEMA_MALFORMED
 * @throws {@link VerificationError} PROOF_SIGNATURE_INVALID
 */
export function verifyEvent(bytes: Uint8Array, publicKey: Uint8Array): LogEvent {
  const expected = { contentType: CONTENT_TYPE, publicKey, maxBytes: EVENT_BYTES_MAX };
  return parseShape(decodeCbor(verifyCose(bytes, expected), EVENT_BYTES_MAX));
}

/** Digest by which the next event names this one; over the signed bytes. */
export function eventDigest(signedEvent: Uint8Array): Uint8Array {
  return digestOfBytes("event", signedEvent);
}

/** The leaf of a signed event in its log's Merkle tree. */
export function eventLeaf(signedEvent: Uint8Array): Uint8Array {
  return leafHash(signedEvent);
}

/**
 * Verifies that signed events are a whole log from its first event: one actor, sequence 0, 1, 2, ... and each naming
 * the one before. Verifies no signature.
 *
 * @throws {@link VerificationError} PROOF_CONSISTENCY_INVALID
 */
export function verifyEventOrder(signedEvents: readonly Uint8Array[]): readonly LogEvent[] {
  const events = signedEvents.map(parseEvent);
  let previous = noPreviousEvent();
  for (const [index, event] of events.entries()) {
    const follows = event.sequence === index && equalBytes(event.previous, previous);
    if (!follows || event.actor_id !== events[0]?.actor_id) {
      throw new VerificationError(
        { code: "PROOF_CONSISTENCY_INVALID", index, sequence: event.sequence },
        `event log: expected event ${index} to follow the one before, got sequence ${event.sequence}`,
      );
    }
    previous = eventDigest(signedEvents[index] ?? new Uint8Array(0));
  }
  return events;
}

function parseShape(value: unknown): LogEvent {
  return parseWith(eventSchema, value, "event");
}
