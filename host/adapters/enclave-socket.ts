import { connect, type Socket } from "node:net";

import { UnavailableError } from "#protocol";

import type { EnclaveExit, EnclaveHandle, EnclaveLauncher } from "../execution/index.ts";

/**
 * Starts enclaves by connecting to a unix socket: whoever takes a connection has a new enclave at its other end, which
 * ends with it (the gate of the image, `image/gate/gate.c`, behind whatever carries the socket to its vsock port).
 *
 * Such a connection is taken or refused at once, so this has no deadline of its own: who takes it and stays silent meets
 * that of the first request. How many enclaves run at once is the node's to say.
 *
 * @param path - The socket's path, at most 107 bytes.
 */
export function createSocketLauncher(path: string): EnclaveLauncher {
  return { launch: async () => handleOf(await connected(path)) };
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const refuse = (cause: Error): void => reject(unreachable(path, cause));
    socket.once("error", refuse);
    socket.once("connect", () => {
      // From here on an error is the end of the channel, of which "close" tells.
      socket.on("error", () => undefined);
      socket.off("error", refuse);
      resolve(socket);
    });
  });
}

function handleOf(channel: Socket): EnclaveHandle {
  const exited = new Promise<EnclaveExit>((resolve) => {
    channel.once("close", () => resolve({ code: null, signal: null }));
  });
  return { channel, exited, kill: () => void channel.destroy() };
}

function unreachable(path: string, cause: Error): UnavailableError {
  const got = "code" in cause ? String(cause.code) : cause.name;
  return new UnavailableError(
    { code: "TEE_ENCLAVE_DIED", socket: path },
    `enclave socket ${path}: expected it to take a connection, got ${got}`,
    { cause },
  );
}
