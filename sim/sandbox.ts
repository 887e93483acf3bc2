import { spawn } from "node:child_process";
import { join } from "node:path";

import { IMAGE_FOLDERS } from "#image";
import { UnavailableError } from "#protocol";

import { imageNodePath } from "./measure.ts";

/** How strictly an enclave process is kept apart from this machine. */
export type Isolation = "bubblewrap" | "none";

/** A program to start: an executable, its arguments, its whole environment and its working directory. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** What to run as an enclave. */
export interface EnclaveProgram {
  readonly repositoryRoot: string;
  /** Path of the script within the repository. */
  readonly entry: string;
  /** The simulator root's certificate, DER. */
  readonly anchorPath: string;
}

/** The enclave's only environment variable: onnxruntime must not call home. */
const ENVIRONMENT = { ORT_DISABLE_TELEMETRY: "1" } as const;
const IMAGE_ROOT = "/enclave";
/** What the enclave reads of its own process: its descriptors, to refuse surprises, and the CPU's features. */
const PROC_PATHS = ["/proc/self/fd", "/proc/cpuinfo"] as const;
const PROBE_MS_MAX = 10_000;

/**
 * Finds out whether bubblewrap works here by running something in it; being installed is not enough.
 *
 * @throws {@link UnavailableError} TEE_ISOLATION_UNAVAILABLE
 */
export async function probeBubblewrap(): Promise<void> {
  const args = ["--unshare-all", "--die-with-parent", "--clearenv", "--ro-bind", "/", "/", "true"];
  const failure = await new Promise<string | null>((resolve) => {
    const child = spawn("bwrap", args, { stdio: "ignore", timeout: PROBE_MS_MAX });
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(code === 0 ? null : `exit ${code ?? signal}`));
  });
  if (failure === null) return;
  throw new UnavailableError(
    { code: "TEE_ISOLATION_UNAVAILABLE", failure },
    `bubblewrap: expected it to run a program, got ${failure}`,
  );
}

/** The command that runs `program` as an enclave, isolated as asked. */
export function enclaveCommand(program: EnclaveProgram, isolation: Isolation): Command {
  return isolation === "bubblewrap" ? sandboxed(program) : unsandboxed(program);
}

/**
 * Under bubblewrap: no network, no other processes, no environment, an empty /tmp, and read-only binds of
 * exactly the image, the third-party code, the Node binary and the system's shared libraries.
 */
function sandboxed({ repositoryRoot, entry, anchorPath }: EnclaveProgram): Command {
  const bind = (from: string, to: string): string[] => ["--ro-bind", from, to];
  const libraries = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];
  const image = [...IMAGE_FOLDERS, "package.json", "node_modules"];
  const anchor = `${IMAGE_ROOT}/sim-root.der`;
  const node = `${IMAGE_ROOT}/bin/node`;
  const isolation = [
    ...["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"],
    ...Object.entries(ENVIRONMENT).flatMap(([name, value]) => ["--setenv", name, value]),
    ...["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
    ...libraries.flatMap((path) => ["--ro-bind-try", path, path]),
    ...image.flatMap((path) => bind(join(repositoryRoot, path), `${IMAGE_ROOT}/${path}`)),
    ...bind(imageNodePath(repositoryRoot), node),
    ...bind(anchorPath, anchor),
    ...["--chdir", IMAGE_ROOT, "--"],
  ];
  const readable = [`${IMAGE_ROOT}/*`, ...PROC_PATHS];
  const run = nodeArguments(readable, `${IMAGE_ROOT}/${entry}`, anchor);
  return {
    file: "bwrap",
    args: [...isolation, node, ...run],
    env: { PATH: process.env["PATH"] ?? "" },
    cwd: repositoryRoot,
  };
}

function unsandboxed({ repositoryRoot, entry, anchorPath }: EnclaveProgram): Command {
  const folders = [...IMAGE_FOLDERS, "node_modules"].map((path) => join(repositoryRoot, path, "*"));
  const readable = [...folders, join(repositoryRoot, "package.json"), anchorPath, ...PROC_PATHS];
  return {
    file: imageNodePath(repositoryRoot),
    args: nodeArguments(readable, join(repositoryRoot, entry), anchorPath),
    env: ENVIRONMENT,
    cwd: repositoryRoot,
  };
}

/** Node's permission model: reads of the listed paths, no writes, no child processes, no workers. */
function nodeArguments(readable: readonly string[], entry: string, anchor: string): string[] {
  return [
    "--permission",
    "--allow-addons",
    ...readable.map((path) => `--allow-fs-read=${path}`),
    "--disable-warning=ExperimentalWarning",
    "--disable-warning=SecurityWarning",
    entry,
    "--anchor",
    anchor,
  ];
}
