import { beforeAll, describe, expect, test } from "vitest";
import fc from "fast-check";

import { EnclaveSession } from "../../enclave/session.ts";
import { enclaveResponseSchema, type EnclaveRequest } from "../../protocol/index.ts";
import { bootHosted, codeOf, rigEnvironment, startEnclave } from "../helpers/enclave-rig.ts";
import { createNetwork, type TestNetwork } from "../helpers/network.ts";

let network: TestNetwork;
let requests: Readonly<Record<"attest" | "run" | "begin" | "finish", EnclaveRequest>>;

beforeAll(async () => {
  network = await createNetwork();
  const empty = new Uint8Array(0);
  const common = { envelope: empty, governance: empty, round: 0, attempt: 0 };
  requests = {
    attest: { method: "attest", nonce: new Uint8Array(32) },
    run: {
      method: "run",
      ...common,
      sealed_order: empty,
      vault_id: "vault-1",
      evidence: empty,
      batch_keys: [],
      batches: [],
      aggregator: null,
      sealed_secret: null,
      artifact: null,
    },
    begin: {
      method: "begin",
      ...common,
      slices: [
        {
          vault_id: "vault-1",
          peer: { manifest: empty, evidence: empty },
          order: empty,
          contribution: empty,
        },
      ],
      previous: null,
      artifact: null,
    },
    finish: { method: "finish", outputs: [] },
  };
});

const REFUSED = { result: "failed", code: "COORDINATION_ROLE_REFUSED" };

describe("order of requests", () => {
  test.for(["attest", "run", "begin", "finish"] as const)(
    "[XP-3] refuses %s before boot, and everything after that",
    async (method) => {
      const end = startEnclave();
      expect(await end.call(requests[method])).toEqual(REFUSED);
      const boot = { method: "boot", role: "slice", genesis: network.genesisBytes } as const;
      expect(await end.call(boot)).toEqual(REFUSED);
    },
  );

  test.for([
    { role: "slice", method: "begin" },
    { role: "slice", method: "finish" },
    { role: "aggregate", method: "run" },
    { role: "aggregate", method: "finish" },
  ] as const)(
    "[XP-3][XP-13] an enclave booted to $role refuses $method",
    async ({ role, method }) => {
      const enclave = await bootHosted(startEnclave(), role, network.genesisBytes);
      expect(await enclave.call(requests[method])).toEqual(REFUSED);
    },
  );

  test("[XP-3] boots once", async () => {
    const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
    const boot = { method: "boot", role: "aggregate", genesis: network.genesisBytes } as const;
    expect(await enclave.call(boot)).toEqual(REFUSED);
    expect(await enclave.call(requests.attest)).toEqual(REFUSED);
  });

  test("[XP-3] gives no more documents than its limit", async () => {
    const enclave = await bootHosted(startEnclave(), "slice", network.genesisBytes);
    for (let count = 0; count < 128; count += 1) await enclave.attest(new Uint8Array(32));
    expect(codeOf(await enclave.call(requests.attest))).toBe("EXECUTION_BOUND_EXCEEDED");
  });
});

describe("answers", () => {
  test("[DS-5] any bytes get a code without text, and end the session", async () => {
    const environment = rigEnvironment();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const session = new EnclaveSession(environment);
        const answer = await session.handle(bytes);
        expect(answer.ends).toBe("failed");
        const response = enclaveResponseSchema.parse(answer.response);
        expect(Object.keys(response).toSorted()).toEqual(["code", "result"]);
      }),
      { numRuns: 100 },
    );
  });

  test("[DS-5] a fault inside says INTERNAL_UNEXPECTED and nothing more", async () => {
    const environment = rigEnvironment();
    const session = new EnclaveSession({
      ...environment,
      randomBytes: () => {
        throw new TypeError("a secret in an error text");
      },
    });
    const end = startEnclave();
    expect(codeOf(await end.call(requests.run))).toBe("COORDINATION_ROLE_REFUSED");
    const { encodeCbor } = await import("../../protocol/index.ts");
    const boot = { method: "boot", role: "slice", genesis: network.genesisBytes } as const;
    const answer = await session.handle(encodeCbor(boot));
    expect(answer).toEqual({
      response: { result: "failed", code: "INTERNAL_UNEXPECTED" },
      ends: "failed",
    });
  });
});
