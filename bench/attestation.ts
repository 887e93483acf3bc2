import { constants, generateKeyPairSync, sign, verify } from "node:crypto";
import { spawnSync } from "node:child_process";

import {
  createChainCache,
  verifyCollateral,
  verifyNitroDocument,
  verifySnpReport,
  verifyTdxQuote,
} from "../attestation/index.ts";
import { nitroEvidence, snpEvidence, tdxEvidence } from "./attestation-evidence.ts";
import { peerSeconds, type Peer } from "./attestation-peers.ts";
import type { Figure } from "./figures.ts";
import { quartileSeconds } from "./rounds.ts";

/** A row of evidence to verify, the signatures it cannot do without, and the peer that verifies the same bytes. */
interface Row {
  readonly name: string;
  readonly limit: string;
  /** The limit of the same evidence from cold, where this row needs fewer signatures. */
  readonly cold?: string;
  readonly peer?: Peer;
}

/** Signatures below the pinned root, and lists and statements: 9 of a quote, 4 when its collateral is verified already. */
const ROWS: readonly Row[] = [
  { name: "nitro", limit: "5 P-384", peer: "@evervault/attestation-bindings" },
  { name: "nitro, warm chain", limit: "1 P-384" },
  { name: "snp", limit: "2 RSA-4096 + 1 P-384" },
  { name: "snp, warm chain", limit: "1 P-384" },
  { name: "tdx", limit: "9 P-256", peer: "@phala/dcap-qvl" },
  { name: "tdx, parsed collateral", limit: "4 P-256", cold: "9 P-256" },
  { name: "tdx, parsed collateral and warm chain", limit: "2 P-256", cold: "9 P-256" },
];

/**
 * Verification of each evidence format against the bare signatures that node:crypto needs for it, and against other
 * verifiers; everything in one run on one core.
 */
export async function attestationFigures(): Promise<readonly Figure[]> {
  pinToOneCore();
  const ecdsa = opensslRate();
  const { works, sources } = verifications();
  const seconds = quartileSeconds({ ...limits(), ...works });
  const peers = peerSeconds(sources);
  return [
    ...(ecdsa === null ? [] : opensslFigures(ecdsa)),
    { name: "node:crypto P-384", value: 1 / seconds("1 P-384"), unit: "verifications/s" },
    ...ROWS.flatMap((row) => rowFigures(row, { seconds, peers })),
  ];
}

function rowFigures(
  { name, limit, cold, peer }: Row,
  {
    seconds,
    peers,
  }: { seconds: (name: string) => number; peers: ReadonlyMap<Peer, number | null> },
): readonly Figure[] {
  const ours = seconds(name);
  const share = (of: string): number => (seconds(of) / ours) * 100;
  const figures = [
    { name: `limit of ${name}: ${limit}`, value: 1 / seconds(limit), unit: "/s" },
    { name, value: 1 / ours, unit: "/s" },
    { name: `${name}: share of limit`, value: share(limit), unit: "%" },
    ...(cold === undefined
      ? []
      : [{ name: `${name}: share of the cold limit`, value: share(cold), unit: "%" }]),
  ];
  const theirs = peer === undefined ? null : (peers.get(peer) ?? null);
  if (theirs === null) return figures;
  return [
    ...figures,
    { name: `${peer}, same ${name} evidence`, value: 1 / theirs, unit: "/s" },
    { name: `${name}: ours to ${peer}`, value: theirs / ours, unit: "x" },
  ];
}

/** Children inherit it. Without taskset the figures are of whatever cores the system chooses. */
function pinToOneCore(): void {
  const shown = spawnSync("taskset", ["-cp", `${process.pid}`], { encoding: "utf8" });
  const core = /(\d+)\s*$/.exec(shown.stdout ?? "")?.[1];
  if (core === undefined) process.stderr.write("bench: taskset is absent, no core is pinned\n");
  else spawnSync("taskset", ["-acp", core, `${process.pid}`]);
}

/** P-384 verifications per second by the system's own OpenSSL, or null without it. */
function opensslRate(): number | null {
  const args = ["speed", "-seconds", "2", "ecdsap384"];
  const { stdout } = spawnSync("openssl", args, { encoding: "utf8" });
  const rate = Number(/nistp384\).*\s([\d.]+)\s*$/m.exec(stdout ?? "")?.[1]);
  if (rate > 0) return rate;
  process.stderr.write("bench: openssl is absent, its own figure is left out\n");
  return null;
}

function opensslFigures(rate: number): readonly Figure[] {
  return [
    { name: "openssl speed ecdsap384", value: rate, unit: "verifications/s" },
    { name: "its limit of five signatures", value: rate / 5, unit: "/s" },
  ];
}

/** Bare verifications with node:crypto, over as many keys as there are signatures in a document. */
function limits(): Readonly<Record<string, () => unknown>> {
  const p384 = verifications5("P-384", "sha384");
  const p256 = verifications5("P-256", "sha256");
  const rsa = verificationRsa();
  const times = (count: number, work: () => void) => () => {
    for (let i = 0; i < count; i += 1) work();
  };
  return {
    "5 P-384": times(5, p384),
    "1 P-384": p384,
    "2 RSA-4096 + 1 P-384": () => {
      times(2, rsa)();
      p384();
    },
    "9 P-256": times(9, p256),
    "4 P-256": times(4, p256),
    "2 P-256": times(2, p256),
  };
}

const MESSAGE = new Uint8Array(1000).fill(7);

function verifications5(namedCurve: string, hash: string): () => void {
  const signed = Array.from({ length: 5 }, () => {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve });
    return { publicKey, signature: sign(hash, MESSAGE, privateKey) };
  });
  let next = 0;
  return () => {
    const one = signed[next % signed.length];
    next += 1;
    if (one === undefined || !verify(hash, MESSAGE, one.publicKey, one.signature)) {
      throw new Error("bench: expected a signature that verifies");
    }
  };
}

function verificationRsa(): () => void {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 4096 });
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 };
  const signature = sign("sha384", MESSAGE, { key: privateKey, ...pss });
  return () => {
    verify("sha384", MESSAGE, { key: publicKey, ...pss }, signature);
  };
}

/** Our verifiers, and of which evidence is genuine. */
function verifications() {
  const [nitro, snp, tdx] = [nitroEvidence(), snpEvidence(), tdxEvidence()];
  const chainCache = createChainCache({ entriesMax: 8 });
  const collateral = verifyCollateral(tdx.collateral, tdx.anchors, tdx.at);
  const bound = { binding: null };
  const works = {
    nitro: () => verifyNitroDocument(nitro.document, nitro.anchors, nitro.at),
    "nitro, warm chain": () =>
      verifyNitroDocument(nitro.document, nitro.anchors, { ...nitro.at, chainCache }),
    snp: () => verifySnpReport({ ...snp, ...bound }, snp.anchors, snp.at),
    "snp, warm chain": () =>
      verifySnpReport({ ...snp, ...bound }, snp.anchors, { ...snp.at, chainCache }),
    tdx: () => verifyTdxQuote({ ...tdx, ...bound }, tdx.anchors, tdx.at),
    "tdx, parsed collateral": () =>
      verifyTdxQuote({ ...tdx, ...bound, collateral }, tdx.anchors, tdx.at),
    "tdx, parsed collateral and warm chain": () =>
      verifyTdxQuote({ ...tdx, ...bound, collateral }, tdx.anchors, { ...tdx.at, chainCache }),
  };
  const sources = { nitro: nitro.source, tdx: tdx.source };
  process.stderr.write(
    `bench: evidence is nitro ${nitro.source}, snp ${snp.source}, tdx ${tdx.source}\n`,
  );
  return { works, sources };
}
