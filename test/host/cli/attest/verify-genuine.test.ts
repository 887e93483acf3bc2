import * as fs from "node:fs";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { NOW } from "../../../attestation/forge.ts";
import { VECTORS, attest, createAttestFolder, vectorsAbsent } from "./rig.ts";

const folder = createAttestFolder();
afterAll(() => folder.remove());

const { policy } = folder;
const EXAMPLES = path.join(import.meta.dirname, "../../../../examples/attestation");
const vector = (name: string): string => path.join(VECTORS, name);
const phala = (name: string): string => vector(`tdx/phala/${name}`);

test.skipIf(vectorsAbsent).for([
  {
    title: "a Nitro document",
    policy: "nitro-policy.json",
    words: [vector("nitro/evervault-prod-signed-in-cert-2023-01-18.cose"), "--at", "signed"],
  },
  {
    title: "an SEV-SNP report",
    policy: "snp-policy.json",
    words: [
      vector("sev-snp/virtee/milan-report.hex"),
      ...["--at", "2026-01-01T00:00:00Z"],
      ...["--endorsements", vector("sev-snp/virtee/milan-vcek.der")],
      ...["--endorsements", vector("sev-snp/virtee/milan-cert_chain.pem")],
    ],
  },
  {
    title: "a TDX quote",
    policy: "tdx-policy.json",
    words: [
      phala("tdx_quote"),
      ...["--at", "2025-06-20T00:00:00Z"],
      ...["--collateral", phala("tdx_quote_collateral.json")],
    ],
  },
])("the example policy accepts genuine evidence: $title, and its archive", async (example) => {
  const options = ["--policy", path.join(EXAMPLES, example.policy)];
  const archive = path.join(folder.path, `${example.policy}.cbor`);
  const first = await attest(["verify", ...example.words, ...options, "--archive", archive]);
  expect([first.exit, first.stderr]).toEqual([0, ""]);
  expect(first.stdout).not.toContain("SIMULATED");
  const again = await attest(["verify", archive, ...options, "--at", "recorded"], NOW * 2);
  expect([again.exit, again.stderr]).toEqual([0, ""]);
});

test.skipIf(vectorsAbsent)("says which option a report or quote lacks", async () => {
  const snp = ["verify", vector("sev-snp/google/milan-report.bin"), "--policy", policy];
  expect((await attest(snp)).stderr).toContain("--endorsements: expected the files of VCEK");
  const tdx = ["verify", phala("near_quote_hex.txt"), "--policy", policy];
  expect((await attest(tdx)).stderr).toContain("--collateral: expected Intel's collateral");
  const ask = ["--endorsements", vector("sev-snp/google/milan-vcek-ask-ark.pem")];
  expect((await attest([...snp, ...ask])).stderr).toContain("expected one VCEK or VLEK");
});

test.skipIf(vectorsAbsent)("reads collateral from Intel's answers as separate files", async () => {
  const all = JSON.parse(fs.readFileSync(phala("tdx_quote_collateral.json"), "utf8"));
  const parts = [
    folder.write("tcb", `{"tcbInfo":${all.tcb_info},"signature":"${all.tcb_info_signature}"}`),
    folder.write(
      "qe",
      `{"enclaveIdentity":${all.qe_identity},"signature":"${all.qe_identity_signature}"}`,
    ),
    folder.write("chain", encodeURIComponent(all.tcb_info_issuer_chain)),
    folder.write("pck", Buffer.from(all.pck_crl, "hex")),
    folder.write("crl", all.root_ca_crl),
  ];
  const words = ["verify", phala("tdx_quote"), "--at", "2025-06-20T00:00:00Z"];
  const options = ["--policy", path.join(EXAMPLES, "tdx-policy.json")];
  const files = parts.flatMap((file) => ["--collateral", file]);
  expect((await attest([...words, ...options, ...files])).exit).toBe(0);
  const { exit, stderr } = await attest([...words, ...options, ...files.slice(0, -2)]);
  expect(exit).toBe(2);
  expect(stderr).toContain("the root's revocation list");
});
