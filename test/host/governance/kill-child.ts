// Started by kill.test.ts: asks governance for one thing after the other, says what it was answered, and kills itself
// before the write it was told.
import { FatalSteps } from "../../helpers/fatal-steps.ts";
import { stepOnWrites } from "../../helpers/fatal-writes.ts";
import { ASKED, ask, openKillWorld } from "./kill-world.ts";

const [folder = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);
stepOnWrites(() => fatal.step());

const rig = await openKillWorld(folder);
fatal.armed = true;
for (const what of ASKED) {
  await ask(rig, what);
  process.stdout.write(`answered ${what}\n`);
}
fatal.armed = false;
await rig.store.close();
