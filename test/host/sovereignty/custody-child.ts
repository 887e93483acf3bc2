// Started by tests of keys, erasure and backups: does one piece of custody work and kills itself at the step it was told.
import real from "node:fs";
import { syncBuiltinESMExports } from "node:module";

import { FatalSteps } from "../../helpers/fatal-steps.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";
import { freshRandom, localKeys } from "./sealed-vault.ts";
import { openFixture } from "./vault-world.ts";

const [directory = "", keyFile = "", job = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);
const step = (): void => fatal.step();

/** Every change of a file is a step: before it, and after it. */
const { renameSync, rmSync, fsyncSync } = real;
real.renameSync = (from, to) => {
  step();
  renameSync(from, to);
  step();
};
real.rmSync = (file, options) => {
  step();
  rmSync(file, options);
  step();
};
real.fsyncSync = (handle) => {
  fsyncSync(handle);
  step();
};
const { rename } = real.promises;
real.promises.rename = async (from, to) => {
  step();
  await rename(from, to);
  step();
};
const { open } = real.promises;
real.promises.open = async (file, flags, mode) => {
  step();
  return open(file, flags, mode);
};
syncBuiltinESMExports();

/** So is every key and nonce: a batch's key that is wrapped again takes one. */
function random(bytes: number): Uint8Array {
  step();
  return freshRandom(bytes);
}

const { vault } = await openFixture({
  directory,
  custody: localKeys(keyFile, random),
  random,
  nowMs: () => {
    step();
    return NETWORK_TIME_MS;
  },
});
fatal.armed = true;
if (job === "rotate") await vault.custody.rotateKeys();
if (job === "reencrypt") await vault.custody.reencrypt();
if (job === "backup") {
  const folders = { data: `${directory}-data`, keys: `${directory}-keys` };
  await vault.custody.backups.make(folders);
}
if (job === "erase") await vault.custody.eraseSubject("c-3");
fatal.armed = false;
await vault.close();
