// Started by kill.test.ts: takes tasks through admission, and kills itself at the clock reading it was told; 0 for never.
import { die, FatalSteps } from "../../helpers/fatal-steps.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";
import { admitAll, openKillWorld } from "./kill-world.ts";

const [folder = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);
const world = await openKillWorld(folder, () => {
  fatal.step();
  return NETWORK_TIME_MS;
});
fatal.armed = true;
await admitAll(world);
process.stdout.write(`${fatal.taken}\n`);
die();
