// Started by shares.test.ts: has a Vault's node release a share, with the fate it was told, and says before whatever has
// left the Vault. Steps are before and after each COMMIT and each message.
import * as fs from "node:fs";

import { z } from "zod";
import { FatalSteps } from "../../../helpers/fatal-steps.ts";
import { openFixture } from "../vault-world.ts";
import { doShareJob } from "./share-jobs.ts";
import { onStatement } from "./statements.ts";

const [directory = "", file = "", job = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);

onStatement((sql) => {
  if (sql.toLowerCase() === "commit") fatal.step();
});

function left(what: string): void {
  fatal.step();
  fs.writeSync(1, `${what}\n`);
  fatal.step();
}

const fixture = await openFixture({ directory });
fixture.clock.nowMs += 2_000;
fatal.armed = true;
await doShareJob(fixture, z.enum(["slice", "another", "release"]).parse(job), { file, left });
fatal.armed = false;
await fixture.vault.close();
