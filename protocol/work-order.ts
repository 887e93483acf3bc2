import { z } from "zod";

import { bytes32, bytesOf, bytesUpTo, identifier, natural, unixMs } from "./fields.ts";
import { defineObject } from "./object.ts";

/**
 * A Vault's signed instruction to one enclave for one (task, round, attempt); the only thing an enclave obeys.
 *
 * `role` says what the enclave does with it: `slice` contributes to an aggregate, `sole` runs a single-Vault task whole.
 */
export const workOrderSchema = z.strictObject({
  version: z.literal(1),
  envelope_digest: bytes32,
  request_digest: bytes32,
  genesis_digest: bytes32,
  policy_digest: bytes32,
  vault_id: identifier,
  round: natural,
  attempt: natural,
  role: z.enum(["slice", "sole"]),
  enclave_manifest: bytes32,
  aggregator_manifest: bytes32.nullable(),
  input_commitment: bytes32,
  consent_commitment: bytes32,
  share_commitment: bytes32,
  /** Commitment to the state this round starts from; null before the first round and for other classes. */
  previous_state: bytes32.nullable(),
  /** Root and size of the Vault's log in which its `executing` entry stands. */
  ledger_root: bytes32,
  ledger_size: natural,
  /** Governance events the Vault has accepted: an enclave acts on no shorter history. */
  governance_size: natural,
  expires_ms: unixMs,
});

export type WorkOrder = z.infer<typeof workOrderSchema>;
export const WORK_ORDER = defineObject("work-order", workOrderSchema, 16 * 1024);

/** What a Vault seals to its slice enclave: the signed order and what opens the batches. */
export const sealedOrderSchema = z.strictObject({
  order: bytesUpTo(32 * 1024),
  /** Per batch: the secret that still wraps its data key after the key service has released it. */
  batch_secrets: z.array(z.strictObject({ batch_id: bytesOf(16), secret: bytes32 })).max(4096),
  /** Bitmap over the rows of all batches in order: whose subject consents; bit 0 is the lowest of byte 0. */
  consent_bitmap: bytesUpTo(1024 * 1024),
  /** Key of the HMAC that gives the order's consent commitment over the bitmap. */
  consent_key: bytes32,
  /** The noise share; used only when the order's role is `sole`. */
  noise_share: bytes32,
});

export type SealedOrder = z.infer<typeof sealedOrderSchema>;
export const SEALED_ORDER = defineObject("sealed-order", sealedOrderSchema, 4 * 1024 * 1024);

/** What a Vault seals to the aggregator enclave: its noise share and its share of the previous round's state key. */
export const contributionSchema = z.strictObject({
  noise_share: bytes32,
  state_key_share: bytesUpTo(256).nullable(),
});

export type Contribution = z.infer<typeof contributionSchema>;
export const CONTRIBUTION = defineObject("contribution", contributionSchema, 4 * 1024);

/** What the aggregator enclave seals to each slice enclave before it runs: a join key, and the state to train from. */
export const roundSecretSchema = z.strictObject({
  token_key: bytes32,
  state: bytesUpTo(16 * 1024 * 1024).nullable(),
});

export type RoundSecret = z.infer<typeof roundSecretSchema>;
export const ROUND_SECRET = defineObject("round-secret", roundSecretSchema, 17 * 1024 * 1024);
