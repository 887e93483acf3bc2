import { createHash } from "node:crypto";

import type { EifMeasurement } from "#attestation";

import type { Tree } from "../archive/cpio.ts";
import { chunksOf } from "../archive/content.ts";
import type { ResolvedInputs, ToolInput } from "./inputs.ts";

/** An image that was built, for the documents that stand beside it. */
export interface BuiltImage {
  /** Name of the file, without its folder. */
  readonly name: string;
  readonly sha256: string;
  readonly measurement: EifMeasurement;
  readonly resolved: ResolvedInputs;
  readonly anchor: "aws" | "simulator";
  /** SHA-256 over our own sources, see {@link digestTree}. */
  readonly sources: string;
}

/**
 * SHA-256 over a line `sha256  path` for each file of `tree`, in order of path: `sha256sum` of `sha256sum`'s output.
 */
export async function digestTree(tree: Tree): Promise<string> {
  const all = createHash("sha256");
  const names = [...tree.keys()].toSorted((a, b) => (a < b ? -1 : 1));
  for (const name of names) {
    const node = tree.get(name);
    if (node?.kind !== "file") continue;
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(node.content, name)) hash.update(chunk);
    all.update(`${hash.digest("hex")}  ${name}\n`);
  }
  return all.digest("hex");
}

/** What the image holds, as CycloneDX 1.6. The same for the same image: no time and no serial number. */
export function softwareBill({ name, sha256, resolved }: BuiltImage) {
  const { inputs, npm, version } = resolved;
  const component = (fields: { name: string; version: string; licence: string; purl: string }) => ({
    type: "library",
    "bom-ref": fields.purl,
    name: fields.name,
    version: fields.version,
    licenses: [{ expression: fields.licence }],
    purl: fields.purl,
  });
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "firmware",
        "bom-ref": "image",
        name: "symphony-enclave",
        version,
        hashes: [{ alg: "SHA-256", content: sha256 }],
        description: name,
      },
    },
    components: [
      ...inputs.debian.map((input) => ({
        ...component({ ...input, purl: debianUrl(input) }),
        hashes: [{ alg: "SHA-256", content: input.sha256 }],
      })),
      ...npm.map((input) => ({
        ...component({ ...input, purl: npmUrl(input) }),
        hashes: [{ alg: "SHA-512", content: hexOfIntegrity(input.integrity) }],
      })),
    ],
  };
}

/** How the image was made, as an in-toto statement of SLSA provenance; unsigned, and without a time. */
export function provenance(built: BuiltImage) {
  const { inputs, npm, version } = built.resolved;
  const { pcr0, pcr1, pcr2 } = built.measurement;
  return {
    _type: "https://in-toto.io/Statement/v1",
    subject: [
      { name: built.name, digest: { sha256: built.sha256 }, annotations: { pcr0, pcr1, pcr2 } },
    ],
    predicateType: "https://slsa.dev/provenance/v1",
    predicate: {
      buildDefinition: {
        buildType: "symphony image build",
        externalParameters: { anchor: built.anchor },
        internalParameters: { cmdline: inputs.cmdline, build_time: inputs.build_time },
        resolvedDependencies: [
          { uri: "symphony", digest: { sha256: built.sources } },
          ...inputs.debian.map(debianDependency),
          ...npm.map((input) => ({
            uri: npmUrl(input),
            digest: { sha512: hexOfIntegrity(input.integrity) },
          })),
          ...inputs.toolchain.map(debianDependency),
        ],
      },
      runDetails: {
        builder: { id: "symphony image build", version: { symphony: version } },
      },
    },
  };
}

function debianDependency(input: ToolInput) {
  return { uri: debianUrl(input), digest: { sha256: input.sha256 } };
}

function debianUrl({ name, version }: { readonly name: string; readonly version: string }): string {
  return `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=amd64`;
}

function npmUrl({ name, version }: { readonly name: string; readonly version: string }): string {
  return `pkg:npm/${name.replace("@", "%40")}@${version}`;
}

function hexOfIntegrity(integrity: string): string {
  return Buffer.from(integrity.slice("sha512-".length), "base64").toString("hex");
}
