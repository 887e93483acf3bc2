import type { VaultCommand } from "./command.ts";

/** Which records the Vault holds. */
export const RECORDS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "records",
    summary: "commitments of a scope's records",
    help: "Lists the commitment, batch and row of each record of a scope, in the order of their ingest.",
    options: {
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
    },
    run: async (call) => {
      const records = await (await call.client()).records(call.required("scope"));
      return call.show(records, JSON.stringify(records, null, 2));
    },
  },
];
