import { randomBytes } from "node:crypto";
import { Duplex } from "node:stream";
import { join } from "node:path";

import type { EnclaveHandle, EnclaveLauncher } from "../../host/index.ts";
import {
  FRAME_BYTES_MAX,
  FrameReader,
  decodeCbor,
  enclaveRequestSchema,
  enclaveResponseSchema,
  encodeCbor,
  encodeFrame,
  parseWith,
  type EnclaveRequest,
  type EnclaveResponse,
} from "../../protocol/index.ts";
import { createInsecureLauncher, type SimLaunchOptions } from "../../sim/launcher.ts";
import { measureSimImage } from "../../sim/measure.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { REPOSITORY_ROOT, type LiveNetwork } from "./live-network.ts";

/** The launcher a node of `live` would have, or one that differs in `change`. */
export function liveLauncher(
  live: Pick<LiveNetwork, "directory" | "isolation">,
  change: Partial<SimLaunchOptions> = {},
): EnclaveLauncher {
  const platform = change.platform ?? createInsecureSimPlatform(join(live.directory, "platform"));
  return createInsecureLauncher({
    repositoryRoot: REPOSITORY_ROOT,
    platform,
    measurement: measureSimImage(REPOSITORY_ROOT, platform.anchor),
    isolation: live.isolation,
    onStderr: () => undefined,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    ...change,
  });
}

/** A launcher whose enclaves' channels are kept, both ways. */
export interface RecordingLauncher extends EnclaveLauncher {
  recorded(): Uint8Array[];
}

/** Wraps `launcher` so that all bytes between host and enclave are kept. */
export function recordingLauncher(launcher: EnclaveLauncher): RecordingLauncher {
  const streams: Buffer[][] = [];
  return {
    launch: async (role) => {
      const handle = await launcher.launch(role);
      const sent: Buffer[] = [];
      const received: Buffer[] = [];
      streams.push(sent, received);
      const keep = (kept: Buffer[]) => (chunk: Buffer) => {
        kept.push(chunk);
        return chunk;
      };
      return throughChannel(handle, { toEnclave: keep(sent), toHost: keep(received) });
    },
    recorded: () => streams.map((chunks) => Buffer.concat(chunks)),
  };
}

/** A handle whose channel carries what `passed` makes of each chunk. */
function throughChannel(
  handle: EnclaveHandle,
  passed: {
    readonly toEnclave: (chunk: Buffer) => Uint8Array;
    readonly toHost: (chunk: Buffer) => Uint8Array;
  },
): EnclaveHandle {
  const inner = handle.channel;
  const channel = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      inner.write(passed.toEnclave(chunk), () => done());
    },
  });
  inner.on("data", (chunk: Buffer) => {
    const bytes = passed.toHost(chunk);
    if (bytes.length > 0) channel.push(bytes);
  });
  inner.on("error", (error) => channel.destroy(error));
  inner.on("close", () => channel.destroy());
  return { channel, exited: handle.exited, kill: () => handle.kill() };
}

/** What a dishonest host makes of what it carries; null never arrives. */
export interface Lies {
  readonly request?: (request: EnclaveRequest) => EnclaveRequest | null;
  readonly response?: (response: EnclaveResponse) => EnclaveResponse | null;
}

/** Wraps `launcher` so that requests and responses pass through `lies`. */
export function lyingLauncher(launcher: EnclaveLauncher, lies: Lies): EnclaveLauncher {
  const { request = (same) => same, response = (same) => same } = lies;
  return {
    launch: async (role) => {
      const handle = await launcher.launch(role);
      const told = rewriting(
        (frame) => request(parseWith(enclaveRequestSchema, frame, "request")),
        (frame) => response(parseWith(enclaveResponseSchema, frame, "response")),
      );
      return throughChannel(handle, told);
    },
  };
}

function rewriting(
  request: (frame: unknown) => EnclaveRequest | null,
  response: (frame: unknown) => EnclaveResponse | null,
) {
  const direction = (change: (frame: unknown) => EnclaveRequest | EnclaveResponse | null) => {
    const reader = new FrameReader();
    return (chunk: Buffer): Uint8Array =>
      Buffer.concat(
        reader
          .push(new Uint8Array(chunk))
          .map((frame) => change(decodeCbor(frame, FRAME_BYTES_MAX)))
          .map((changed) =>
            changed === null ? new Uint8Array(0) : encodeFrame(encodeCbor(changed)),
          ),
      );
  };
  return { toEnclave: direction(request), toHost: direction(response) };
}

/** A launcher that can be exchanged while its node runs. */
export interface ChangingLauncher extends EnclaveLauncher {
  current: EnclaveLauncher;
}

/** A launcher that does what its `current` one does. */
export function changingLauncher(first: EnclaveLauncher): ChangingLauncher {
  const changing: ChangingLauncher = {
    current: first,
    launch: (role) => changing.current.launch(role),
  };
  return changing;
}
