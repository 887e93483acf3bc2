import { z } from "zod";

import { timeText } from "./command.ts";

/** What an answer of the Vault says of how it stands with its witnesses. */
export const standingFields = {
  standing: z.enum(["unconfirmed", "confirmed", "frozen"]),
  frozen: z
    .object({
      reason: z.enum(["behind", "forked", "restarted", "restored"]),
      held_size: z.number(),
      held_root: z.string(),
      at_ms: z.number(),
    })
    .nullable(),
  log_size: z.number(),
  cosigned_size: z.number().nullable(),
  held_by: z.array(z.object({ vault_id: z.string(), size: z.number() })).readonly(),
};

const standingSchema = z.object(standingFields);

/** How a Vault stands with its witnesses. */
export type VaultStanding = z.infer<typeof standingSchema>;

const REASONS = {
  behind: "this store is an older copy",
  forked: "this store has gone on beside the newest one",
  restarted: "this store is a copy of before a restart",
  restored: "this store came from a backup, and no other Vault remembers what was spent since",
} as const;

/** What to do about a frozen Vault. */
export const FROZEN_REMEDY =
  "put the newest store back; when it is lost, symphony vault thaw --write-off --confirm gives up the whole budget";

/** Whether the Vault may work; of a frozen one since when, behind which head, and what to do. */
export function standingText({ standing, frozen, log_size }: VaultStanding): string {
  if (frozen !== null) {
    return [
      `FROZEN since ${timeText(frozen.at_ms)}, ${frozen.reason}: ${REASONS[frozen.reason]}`,
      frozen.reason === "restored"
        ? `  this log has ${log_size} events`
        : `  others hold a head of ${frozen.held_size} events with root ${frozen.held_root}; this log has ${log_size}`,
      `  ${FROZEN_REMEDY}`,
    ].join("\n");
  }
  return standing === "confirmed"
    ? "confirmed: no other Vault holds a newer head"
    : "unconfirmed: waiting for other Vaults to say which head they hold; nothing is decided until then";
}
