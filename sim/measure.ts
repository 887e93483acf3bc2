import { readFileSync, readdirSync, realpathSync, statSync } from "node:fs";
import { join, sep } from "node:path";

import type { NitroMeasurement, TrustAnchor } from "#attestation";
import { IMAGE_FILES, IMAGE_FOLDERS } from "#image";
import { MalformedError, encodeCbor, hex, sha384, utf8 } from "#protocol";

type Entry = readonly [path: string, digest: Uint8Array];

const binaryDigests = new Map<string, Uint8Array>();

/**
 * Measures the simulator's enclave image in the checkout at `repositoryRoot`.
 *
 * PCRn = SHA384(0^48 || SHA384(list)), where the list is canonical CBOR of (path, SHA-384) pairs in order of
 * path: PCR 1 over the Node binary, PCR 2 over the folders, the lockfile and the anchor, PCR 0 over all.
 * The extend rule is AWS's; what is listed is the design's (section 9), because there is no image file here.
 *
 * @throws {@link MalformedError} SCHEMA_CONFIG_MALFORMED for anything but plain files and folders.
 * @deprecated For development and tests only: nothing enforces that what was measured is what runs.
 */
export function measureSimImage(repositoryRoot: string, anchor: TrustAnchor): NitroMeasurement {
  const runtime: Entry[] = [["node", nodeDigest(repositoryRoot)]];
  const application: Entry[] = [
    ...IMAGE_FOLDERS.flatMap((folder) => folderEntries(repositoryRoot, folder)),
    ...IMAGE_FILES.map((file): Entry => [file, sha384(readFileSync(join(repositoryRoot, file)))]),
    ["anchor", sha384(anchor.certificate)],
  ];
  return {
    pcr0: extend([...runtime, ...application]),
    pcr1: extend(runtime),
    pcr2: extend(application),
  };
}

/** The Node binary the image runs, as a real path. */
export function imageNodePath(repositoryRoot: string): string {
  return realpathSync(join(repositoryRoot, "node_modules", ".bin", "node"));
}

function extend(entries: readonly Entry[]): string {
  const sorted = [...entries].sort(([left], [right]) => Buffer.compare(utf8(left), utf8(right)));
  return hex(sha384(new Uint8Array(48), sha384(encodeCbor(sorted))));
}

function folderEntries(repositoryRoot: string, folder: string): Entry[] {
  return readdirSync(join(repositoryRoot, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return folderEntries(repositoryRoot, path);
    if (!entry.isFile()) {
      throw new MalformedError(
        { code: "SCHEMA_CONFIG_MALFORMED", path },
        `image ${path}: expected a plain file or folder, got something else`,
      );
    }
    const name = path.split(sep).join("/");
    return [[name, sha384(readFileSync(join(repositoryRoot, path)))] as const];
  });
}

/** The binary has over 100 MB; its digest is kept while its identity, size and times stay the same. */
function nodeDigest(repositoryRoot: string): Uint8Array {
  const path = imageNodePath(repositoryRoot);
  const { ino, size, mtimeMs, ctimeMs } = statSync(path);
  const identity = [path, ino, size, mtimeMs, ctimeMs].join(":");
  const known = binaryDigests.get(identity);
  if (known !== undefined) return known;
  const digest = sha384(readFileSync(path));
  binaryDigests.set(identity, digest);
  return digest;
}
