// Started by kill.test.ts: cosigns or thaws in an existing world and kills itself before the write it was told.
import { FatalSteps } from "../../../helpers/fatal-steps.ts";
import { stepOnWrites } from "../../../helpers/fatal-writes.ts";
import { WitnessWorld } from "./witness-world.ts";

const [folder = "", job = "", at = "0"] = process.argv.slice(2);
const A = "vault-1";
const fatal = new FatalSteps(at);

stepOnWrites(() => fatal.step());

const world = await WitnessWorld.start({ folder });
if (job === "cosign") await world.grow(A, "charged");
fatal.armed = true;
if (job === "thaw") await world.vault(A).witness.thaw(world.governance);
else if ((await world.cosign(A)) !== "cosigned") throw new Error("expected a cosigned head");
fatal.armed = false;
for (const vaultId of [...world.vaults.keys()]) await world.close(vaultId);
