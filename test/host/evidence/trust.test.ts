import { expect, test } from "vitest";

import { AWS_NITRO_ROOT_G1 } from "../../../attestation/index.ts";
import { formatTrust, parseTrust } from "../../../host/evidence/trust.ts";
import { rigPlatform } from "../../helpers/enclave-rig.ts";
import { testSeed } from "../../helpers/network.ts";

const GENESIS = { network: "test", genesisDigest: testSeed("genesis") };
const simulator = () => formatTrust({ ...GENESIS, anchors: [rigPlatform().anchor] });
const hardware = () => formatTrust({ ...GENESIS, anchors: [AWS_NITRO_ROOT_G1] });

test("a trust file says whether it trusts the simulator", () => {
  expect(parseTrust(simulator()).simulated).toBe(true);
  expect(parseTrust(hardware()).simulated).toBe(false);
});

test.for([
  {
    title: "calls the simulator's root hardware",
    text: () => simulator().replace('"platform": "sim"', '"platform": "aws-nitro"'),
  },
  {
    title: "trusts the simulator and says that it does not",
    text: () => simulator().replace('"simulated": true', '"simulated": false'),
  },
  {
    title: "calls AWS's root the simulator's",
    text: () => hardware().replace('"platform": "aws-nitro"', '"platform": "sim"'),
  },
])("[RT-3] a trust file is refused that $title", ({ text }) => {
  expect(() => parseTrust(text())).toThrow(
    expect.objectContaining({ code: "TEE_PLATFORM_REFUSED" }),
  );
});
