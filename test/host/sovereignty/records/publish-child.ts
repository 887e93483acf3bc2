// Started by publish-kill.test.ts: ingests one source, and kills itself before the write of its publication it was told.
import { FatalSteps } from "../../../helpers/fatal-steps.ts";
import { stepOnWrites } from "../../../helpers/fatal-writes.ts";
import { SOURCE, ingestSource } from "./publish-world.ts";
import { openFixture } from "../vault-world.ts";

const [directory = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);
stepOnWrites((statement) => {
  // What is staged whole is recorded so; everything from then on is publication.
  if (/^update "ingest_run".*"source_digest"/i.test(statement)) fatal.armed = true;
  if (fatal.armed && statement === "committed") process.stdout.write("committed\n");
  fatal.step();
});

const fixture = await openFixture({ directory });
await ingestSource(fixture, SOURCE);
process.stdout.write("published\n");
fatal.armed = false;
await fixture.vault.close();
