// Started by crash.test.ts: decides and begins execution, and kills itself at the clock reading it was told.
import { beginning, envelopeOf, openFixture, requestOf, stocked } from "./vault-world.ts";
import { die, FatalSteps } from "../../helpers/fatal-steps.ts";
import { NETWORK_TIME_MS } from "../../helpers/network.ts";

const [directory = "", stage = "", at = "0"] = process.argv.slice(2);
const fatal = new FatalSteps(at);

function nowMs(): number {
  fatal.step();
  return NETWORK_TIME_MS;
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
