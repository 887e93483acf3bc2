import { admissionFigures } from "./admission.ts";
import { aggregationFigures } from "./aggregation.ts";
import { attestationFigures } from "./attestation.ts";
import type { BenchOptions, Figure } from "./figures.ts";
import { ingestFigures } from "./ingest.ts";
import { ledgerFigures } from "./ledger.ts";
import { protocolFigures } from "./protocol.ts";
import { resolutionFigures } from "./resolution.ts";

const BENCHES: ReadonlyMap<string, (options: BenchOptions) => Promise<readonly Figure[]>> = new Map(
  [
    ["protocol", protocolFigures],
    ["resolution", resolutionFigures],
    ["attestation", attestationFigures],
    ["aggregation", aggregationFigures],
    ["ledger", ledgerFigures],
    ["ingest", ingestFigures],
    ["admission", admissionFigures],
  ],
);

const HELP = `npm run bench -- [NAME...] [--short] [--json]

Measures ${[...BENCHES.keys()].join(", ")} (all when none is named). Ratios compare two runs of the same process.
attestation runs on one core (taskset), and compares with the verifiers in bench/peers, which it installs when it can.
ledger takes minutes and some 10 GB of disk, and compares with a PostgreSQL server of its own when that is installed;
ingest seals up to 5,000,000 rows, each of another subject, and takes some GB of disk.
admission takes requests through a coordinator behind HTTP and three Vaults, all in this process.
--short makes these three small.
`;

async function main(argv: readonly string[]): Promise<number> {
  const names = argv.filter((word) => !word.startsWith("--"));
  const unknown = names.find((name) => !BENCHES.has(name));
  if (argv.includes("--help")) {
    process.stdout.write(HELP);
    return 0;
  }
  if (unknown !== undefined) {
    process.stderr.write(`bench: expected ${[...BENCHES.keys()].join(", ")}, got ${unknown}\n`);
    return 2;
  }
  const options = { short: argv.includes("--short") };
  for (const [name, measure] of BENCHES) {
    if (names.length > 0 && !names.includes(name)) continue;
    for (const figure of await measure(options)) print(name, figure, argv.includes("--json"));
  }
  return 0;
}

function print(bench: string, { name, value, unit }: Figure, json: boolean): void {
  const line = json
    ? JSON.stringify({ bench, name, value, unit })
    : `${bench.padEnd(12)} ${name.padEnd(60)} ${`${Number(value.toPrecision(3))}`.padStart(8)} ${unit}`;
  process.stdout.write(`${line}\n`);
}

process.exitCode = await main(process.argv.slice(2));
