import { actorRole } from "#protocol";
import { z } from "zod";

const amount = z.int().min(0);

/** An actor of the network, the keys it has had, and what has become of its deposits. Minor units. */
export const actorViewSchema = z.object({
  actor_id: z.string(),
  role: actorRole,
  status: z.enum(["active", "suspended", "retired"]),
  signing_key: z.string(),
  keys: z.array(
    z.object({ key_id: z.string(), from_epoch: z.int(), until_epoch: z.int().nullable() }),
  ),
  stake: z.object({
    required_minor: amount,
    bonded_minor: amount,
    deposited_minor: amount,
    unbonding_minor: amount,
    unbonding: z.array(z.object({ amount_minor: amount, release_epoch: z.int() })),
    withdrawn_minor: amount,
    slashed_minor: amount,
    slashes: z.array(
      z.object({ condition: z.string(), evidence: z.string(), amount_minor: amount }),
    ),
  }),
});
