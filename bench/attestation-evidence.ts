import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import {
  AMD_ARK_MILAN,
  AWS_NITRO_ROOT_G1,
  INTEL_SGX_ROOT_CA,
  type Collateral,
  type JudgedAt,
  type TrustAnchor,
} from "../attestation/index.ts";
import { utf8 } from "../protocol/index.ts";
import { readReference } from "../test/vectors/attestation/load.ts";

/** Where the genuine evidence is; generated evidence takes its place where it is absent. */
export const SHARED = join(
  process.env["SYMPHONY_SHARED"] ?? join(import.meta.dirname, "../../shared"),
  "vectors",
);

/** Files that peers read too. */
export const NITRO_FILE = join(SHARED, "nitro/evervault-debug-nonce256-2023-09-18.cose");
export const TDX_FILE = join(SHARED, "tdx/phala/tdx_quote");
export const TDX_COLLATERAL_FILE = join(SHARED, "tdx/phala/tdx_quote_collateral.json");
/** Within every window of the TDX collateral. */
export const TDX_AT_MS = Date.parse("2025-06-25T00:00:00Z");

interface Judged {
  readonly source: "genuine" | "generated";
  readonly document: Uint8Array;
  readonly anchors: readonly TrustAnchor[];
  readonly at: JudgedAt;
}

const GENERATED_AT = { mode: "replay", recordedMs: 1_790_000_000_000 } as const;

/** A Nitro document: another project's public sample, or the simulator's. */
export function nitroEvidence(): Judged {
  const at = { mode: "replay" } as const;
  if (existsSync(NITRO_FILE)) {
    const document = new Uint8Array(readFileSync(NITRO_FILE));
    return { source: "genuine", document, anchors: [AWS_NITRO_ROOT_G1], at };
  }
  const anchors = [{ platform: "sim", certificate: readReference("sim-root.der") } as const];
  return { source: "generated", document: readReference("nitro-sim.bin"), anchors, at };
}

/** An SEV-SNP report of Milan with its chain. */
export function snpEvidence(): Judged & { readonly endorsements: readonly Uint8Array[] } {
  const genuine = existsSync(join(SHARED, "sev-snp/virtee/milan-report.hex"));
  if (genuine) {
    const chain = ["roots/amd-ark-milan.pem", "roots/amd-ask-milan.pem"];
    const files = [...chain, "sev-snp/virtee/milan-vcek.der"];
    return {
      source: "genuine",
      document: readReference("shared:sev-snp/virtee/milan-report.hex"),
      endorsements: files.map((file) => readReference(`shared:${file}`)),
      anchors: [AMD_ARK_MILAN],
      at: { mode: "replay", recordedMs: 1_680_636_223_000 },
    };
  }
  const endorsements = ["ark", "authority", "leaf"].map((role) =>
    readReference(`snp-milan-${role}.der`),
  );
  const [certificate = new Uint8Array(0)] = endorsements;
  return {
    source: "generated",
    document: readReference("snp-milan.bin"),
    endorsements,
    anchors: [{ platform: "amd-sev-snp", certificate }],
    at: GENERATED_AT,
  };
}

/** A TDX quote of version 4 with its collateral. */
export function tdxEvidence(): Judged & { readonly collateral: Collateral } {
  if (existsSync(TDX_FILE) && existsSync(TDX_COLLATERAL_FILE)) {
    return {
      source: "genuine",
      document: new Uint8Array(readFileSync(TDX_FILE)),
      collateral: genuineCollateral(),
      anchors: [INTEL_SGX_ROOT_CA],
      at: { mode: "replay", recordedMs: TDX_AT_MS },
    };
  }
  const certificate = readReference("tdx-root.der");
  return {
    source: "generated",
    document: readReference("tdx-v4.bin"),
    collateral: {
      tcbInfo: readReference("tdx-tcb-info.json.bin"),
      qeIdentity: readReference("tdx-qe-identity.json.bin"),
      tcbSigningChain: [certificate, readReference("tdx-signer.der")],
      pckCrl: readReference("tdx-pck.crl"),
      rootCrl: readReference("tdx-root.crl"),
    },
    anchors: [{ platform: "intel-tdx", certificate }],
    at: GENERATED_AT,
  };
}

/** The sample has statements and their signatures apart, and chains in PEM, leaf first. */
function genuineCollateral(): Collateral {
  const field = (name: string): Uint8Array =>
    readReference(`shared:tdx/phala/tdx_quote_collateral.json#${name}`);
  const text = (name: string): string => new TextDecoder().decode(field(name));
  const statement = (member: string, name: string): Uint8Array => {
    const signature = Buffer.from(field(`${name}_signature`)).toString("hex");
    return utf8(`{"${member}":${text(name)},"signature":"${signature}"}`);
  };
  return {
    tcbInfo: statement("tcbInfo", "tcb_info"),
    qeIdentity: statement("enclaveIdentity", "qe_identity"),
    tcbSigningChain: [field("tcb_info_issuer_chain@1"), field("tcb_info_issuer_chain@0")],
    pckCrl: field("pck_crl"),
    rootCrl: field("root_ca_crl"),
  };
}
