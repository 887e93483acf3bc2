import { z } from "zod";

import { UsageError } from "../io.ts";
import type { VaultCommand } from "./command.ts";

const statusSchema = z.object({
  standing: z.enum(["unconfirmed", "confirmed", "frozen"]),
  frozen: z.object({ reason: z.string(), held_size: z.number() }).nullable(),
  log_size: z.number(),
  cosigned_size: z.number().nullable(),
  held_by: z.array(z.object({ vault_id: z.string(), size: z.number() })),
  restarts: z.number(),
  forked_vaults: z.array(z.string()),
});

const thawedSchema = z.object({
  generation: z.number(),
  abandoned_size: z.number(),
  log_size: z.number(),
});

/** What other Vaults know of this one, and what it does when it is an older copy. */
export const WITNESS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "witness",
    summary: "whether other Vaults confirm that this store is no older copy",
    help: `Says how the Vault stands with its witnesses. Unconfirmed or frozen it decides, begins and releases nothing: then
other Vaults have not answered yet, or hold a head of its log that it signed and does not have.`,
    options: {},
    run: async (call) => {
      const answer = await (await call.client()).get("/v1/vault/witness");
      return call.show(answer, statusText(statusSchema.parse(answer)));
    },
  },
  {
    name: "thaw",
    summary: "go on from an older copy, giving up the whole budget",
    help: `Ends the freeze of a Vault whose newest store is lost. Every subject's and record scope's budget counts as consumed
from then on, for every purpose, and the log says so for ever. Put the newest store back instead where you can.`,
    options: {
      "write-off": { value: null, summary: "give up the whole budget" },
      confirm: { value: null, summary: "there is no way back from it" },
    },
    run: async (call) => {
      if (!call.flag("write-off") || !call.flag("confirm")) {
        throw new UsageError("vault thaw: expected --write-off --confirm");
      }
      const body = { write_off: true, confirm: true };
      const answer = await (await call.client()).post("/v1/vault/witness/thaw", body);
      const { generation, abandoned_size, log_size } = thawedSchema.parse(answer);
      const text = `restart ${generation}: the head of ${abandoned_size} events is given up, the log goes on at ${log_size}; every budget is written off`;
      return call.show(answer, text);
    },
  },
];

function statusText(status: z.infer<typeof statusSchema>): string {
  const { standing, frozen, log_size, cosigned_size, held_by, restarts, forked_vaults } = status;
  const why =
    frozen === null
      ? ""
      : `: ${frozen.reason}, others hold a head of ${frozen.held_size} events that this store does not`;
  const held = held_by.map(({ vault_id, size }) => `${vault_id} holds ${size}`).join(", ");
  return [
    `${standing}${why}`,
    `log ${log_size} events, cosigned up to ${cosigned_size ?? "none"}${held === "" ? "" : `; ${held}`}`,
    `restarts ${restarts}`,
    ...forked_vaults.map((vaultId) => `PROVEN FORK of the log of ${vaultId}`),
  ].join("\n");
}
