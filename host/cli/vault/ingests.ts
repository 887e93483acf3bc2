import type { VaultClient } from "../../http/vault/client.ts";
import type { VaultCommand } from "./command.ts";

const PAGE_ROWS = 100;

type Ingests = Awaited<ReturnType<VaultClient["ingests"]>>;

/** What became of the sources that `symphony ingest` sent. */
export const INGEST_COMMANDS: readonly VaultCommand[] = [
  {
    name: "ingests",
    summary: "ingests that run, wait or were published",
    help: `Lists the ingests that are not published, oldest first, and the last published ones, newest first. An
interrupted one goes on when its source is sent again, and is removed after seven days.`,
    options: {},
    run: async (call) => {
      const ingests = await (await call.client()).ingests();
      return call.show(ingests, human(ingests));
    },
  },
  {
    name: "quarantine",
    summary: "rows that an ingest set aside",
    help: "Lists rows that an ingest left out: line, column and what was expected there; values are not kept.",
    words: ["INGEST"],
    options: {
      after: { value: "LINE", summary: "only rows after this line" },
      limit: { value: "COUNT", summary: `at most so many rows; ${PAGE_ROWS} when absent` },
    },
    run: async (call) => {
      const [ingest = ""] = call.words;
      const limit = call.count("limit") ?? PAGE_ROWS;
      const after = call.count("after") ?? 0;
      const rows = await (await call.client()).quarantined({ ingest, after, limit });
      const lines = rows.map(
        ({ line, column, expected }) =>
          `line ${line}${column === null ? "" : `, column ${column}`}: expected ${expected}`,
      );
      const last = rows.at(-1);
      if (last !== undefined && rows.length === limit) {
        lines.push(`more with --after ${last.line}`);
      }
      return call.show(rows, lines.join("\n") || "no row");
    },
  },
  {
    name: "abandon",
    summary: "give an interrupted ingest up",
    help: "Removes an interrupted ingest and everything it has sealed. One that runs or is published stays.",
    words: ["INGEST"],
    options: {},
    run: async (call) => {
      const [ingest = ""] = call.words;
      const answer = await (await call.client()).abandonIngest(ingest);
      return call.show(answer, `${ingest}: removed`);
    },
  },
];

function human({ open, published }: Ingests): string {
  const lines = [
    ...open.map(({ ingest_id, record_scope, source_name, state, staged, progress }) => {
      const rate = progress === null ? "" : `, ${Math.round(progress.rowsPerSecond)} rows/s`;
      const done = `${progress?.rows ?? staged.rows} rows, ${staged.batches} batches sealed${rate}`;
      return `${ingest_id}  ${state.padEnd(11)}  ${record_scope}  ${source_name}: ${done}`;
    }),
    ...published.map(
      ({ ingest_id, record_scope, records, batches, quarantined }) =>
        `${ingest_id}  published    ${record_scope}  ${records} records in ${batches} batches, ${quarantined} rows set aside`,
    ),
  ];
  return lines.join("\n") || "no ingest";
}
