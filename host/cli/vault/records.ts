import type { VaultCommand } from "./command.ts";

/** Which records the Vault holds. */
export const RECORDS_COMMANDS: readonly VaultCommand[] = [
  {
    name: "records",
    summary: "commitments of a scope's records",
    help: `Lists the commitment, batch and row of each record of a scope, in the order of their ingest. "next" is where the next
page begins, null after the last.`,
    options: {
      scope: { value: "SCOPE", summary: "registered record scope", required: true },
      after: { value: "NEXT", summary: "continue after this page" },
      limit: { value: "N", summary: "at most so many (default 1000)" },
    },
    run: async (call) => {
      const page = await (
        await call.client()
      ).records({
        scope: call.required("scope"),
        after: call.optional("after"),
        limit: call.count("limit"),
      });
      return call.show(page, JSON.stringify(page, null, 2));
    },
  },
];
