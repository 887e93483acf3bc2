import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A TCP proxy that keeps every byte it passes on, both ways. */
export interface RecordingProxy {
  readonly url: string;
  /** What passed so far: one buffer for each direction of each connection. */
  recorded(): Uint8Array[];
  close(): Promise<void>;
}

/** Starts a proxy in front of `target`, an `http://` URL of this machine. */
export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const { hostname, port } = new URL(target);
  const streams: Buffer[][] = [];
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket): void => {
    const kept: Buffer[] = [];
    streams.push(kept);
    sockets.add(from);
    from.on("data", (chunk: Buffer) => {
      kept.push(chunk);
      to.write(chunk);
    });
    from.on("end", () => to.end());
    from.on("error", () => to.destroy());
    from.on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const server = createServer((socket) => {
    const upstream = connect(Number(port), hostname);
    pass(socket, upstream);
    pass(upstream, socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${portOf(server.address())}`,
    recorded: () => streams.map((chunks) => Buffer.concat(chunks)),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function portOf(address: AddressInfo | string | null): number {
  if (address === null || typeof address === "string") throw new Error("proxy: expected a port");
  return address.port;
}
