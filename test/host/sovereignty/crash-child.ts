// Started by crash.test.ts: decides and begins execution, and kills itself at the clock reading it was told.
import { beginning, envelopeOf, openFixture, requestOf, stocked } from "./vault-world.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";

const [directory = "", stage = "", at = "0"] = process.argv.slice(2);
const fatal = { armed: false, readings: 0 };

function nowMs(): number {
  if (fatal.armed) {
    fatal.readings += 1;
    if (fatal.readings === Number(at)) die();
  }
  return NETWORK_TIME_MS;
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  // The signal is on its way; nothing more may happen.
  for (;;);
}

const fixture = await openFixture({ directory, nowMs });
await stocked(fixture);
const request = await requestOf(fixture, "a");
fatal.armed = stage === "decide";
const decision = await fixture.vault.decide(request.signed, fixture.governance);
if (stage === "decided") die();
const envelope = envelopeOf(fixture, request, decision);
const reference = { round: 0, attempt: 0 };
const plan = await fixture.vault.prepareSlice(envelope, fixture.governance, reference);
fatal.armed = stage === "begin";
await fixture.vault.beginExecution(beginning(fixture, envelope, plan));
if (stage === "begun") die();
fatal.armed = stage === "settle";
await fixture.vault.settle(envelope, []);
die();
