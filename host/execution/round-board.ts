import {
  ROUND_MESSAGE,
  UnavailableError,
  equalBytes,
  parseCose,
  taskKeyOf,
  type GovernanceState,
  type RoundMessage,
  type SigningKey,
} from "#protocol";

export type RoundBody = RoundMessage["body"];
type BodyOf<Kind extends RoundBody["kind"]> = Extract<RoundBody, { kind: Kind }>;

/** How a node reaches the coordinator's message board for one round. */
export interface BoardTransport {
  post(message: Uint8Array): Promise<void>;
  /** Messages after `after`; waits up to `waitMs` for the first. `closed` when the round is over. */
  read(
    after: number,
    waitMs: number,
  ): Promise<{
    readonly messages: readonly { readonly position: number; readonly message: Uint8Array }[];
    readonly closed: boolean;
  }>;
}

/** Longest single poll, milliseconds. */
const POLL_MS_MAX = 5_000;

/** Messages kept for when their signer's key is known; a round has fewer. */
const UNREAD_MAX = 64;

/**
 * One round's messages as a participant takes part in them.
 *
 * A message counts only when its sender, an actor of the network, signed it for this envelope, round and attempt;
 * others are passed over, so a coordinator can drop or delay and nothing else.
 */
export class RoundBoard {
  readonly #transport: BoardTransport;
  readonly #self: { readonly actorId: string; readonly key: SigningKey };
  readonly #newest: () => GovernanceState;
  readonly #round: {
    readonly envelopeDigest: Uint8Array;
    readonly round: number;
    readonly attempt: number;
    /** Of the task. */
    readonly epochId: number;
  };
  readonly #nowMs: () => number;
  readonly #seen: RoundMessage[] = [];
  /** Messages that nobody known signed, as yet: the latest ones. Read again when more of governance is known. */
  #unread: readonly Uint8Array[] = [];
  #judged: GovernanceState | undefined;
  #position = 0;
  #closed = false;
  #ended: Error | undefined;

  constructor(args: {
    readonly transport: BoardTransport;
    readonly self: { readonly actorId: string; readonly key: SigningKey };
    /** The newest governance that this participant knows: a sender may change its key during a round. */
    readonly newest: () => GovernanceState;
    readonly round: {
      readonly envelopeDigest: Uint8Array;
      readonly round: number;
      readonly attempt: number;
      readonly epochId: number;
    };
    readonly nowMs: () => number;
  }) {
    this.#transport = args.transport;
    this.#self = args.self;
    this.#newest = args.newest;
    this.#round = args.round;
    this.#nowMs = args.nowMs;
  }

  /** Signs and posts. */
  async post(body: RoundBody): Promise<void> {
    const message: RoundMessage = {
      envelope_digest: this.#round.envelopeDigest,
      round: this.#round.round,
      attempt: this.#round.attempt,
      sender: this.#self.actorId,
      body,
    };
    await this.#transport.post(ROUND_MESSAGE.sign(message, this.#self.key));
  }

  /** Ends this participant's waits: the one under way, after its poll, and every later one fail with `reason`. */
  end(reason: Error): void {
    this.#ended ??= reason;
  }

  /** Messages of one kind from any sender seen so far. */
  all<Kind extends RoundBody["kind"]>(
    kind: Kind,
  ): { readonly sender: string; readonly body: BodyOf<Kind> }[] {
    return this.#seen.flatMap(({ sender, body }) => (isKind(body, kind) ? [{ sender, body }] : []));
  }

  /** Waits for the next messages, until `deadlineMs` at most. @returns whether any came. */
  async poll(deadlineMs: number): Promise<boolean> {
    const waitMs = Math.max(0, Math.min(POLL_MS_MAX, deadlineMs - this.#nowMs()));
    const { messages, closed } = await this.#transport.read(this.#position, waitMs);
    for (const { position } of messages) this.#position = Math.max(this.#position, position);
    this.#read(messages.map(({ message }) => message));
    this.#closed = closed;
    return messages.length > 0;
  }

  #read(fresh: readonly Uint8Array[]): void {
    const governance = this.#newest();
    const again = governance === this.#judged ? [] : this.#unread;
    const unread = governance === this.#judged ? [...this.#unread] : [];
    for (const message of [...again, ...fresh]) {
      const verified = readRoundMessage(message, { governance, epochId: this.#round.epochId });
      if (verified === undefined) unread.push(message);
      else if (this.#concerns(verified)) this.#seen.push(verified);
    }
    this.#unread = unread.slice(-UNREAD_MAX);
    this.#judged = governance;
  }

  /**
   * The message of `kind` from `sender` that `matches`, as soon as it is there.
   *
   * @throws UnavailableError EXECUTION_TIMED_OUT at the deadline, or when the round is over; the reason of {@link end}.
   */
  async waitFor<Kind extends RoundBody["kind"]>(args: {
    readonly kind: Kind;
    readonly sender: string;
    readonly matches?: (body: BodyOf<Kind>) => boolean;
    readonly deadlineMs: number;
  }): Promise<BodyOf<Kind>> {
    for (;;) {
      if (this.#ended !== undefined) throw this.#ended;
      const found = this.all(args.kind).find(
        ({ sender, body }) => sender === args.sender && (args.matches?.(body) ?? true),
      );
      if (found !== undefined) return found.body;
      const failed = this.all("failed").some(({ sender }) => sender === args.sender);
      if (failed || this.#closed || this.#nowMs() >= args.deadlineMs) {
        throw new UnavailableError(
          { code: "EXECUTION_TIMED_OUT", kind: args.kind },
          `round: expected ${args.kind} from ${args.sender} by the deadline`,
        );
      }
      await this.poll(args.deadlineMs);
    }
  }

  #concerns(message: RoundMessage): boolean {
    return (
      message.round === this.#round.round &&
      message.attempt === this.#round.attempt &&
      equalBytes(message.envelope_digest, this.#round.envelopeDigest)
    );
  }
}

/** A message its sender signed, by a key of its that counts for tasks of the epoch; undefined when nobody did. */
export function readRoundMessage(
  signed: Uint8Array,
  of: { readonly governance: GovernanceState; readonly epochId: number },
): RoundMessage | undefined {
  try {
    const claimed = ROUND_MESSAGE.decode(parseCose(signed).payload);
    const sender = of.governance.actors.get(claimed.sender);
    if (sender?.status !== "active") return undefined;
    return ROUND_MESSAGE.verify(signed, taskKeyOf(sender, signed, of.epochId));
  } catch {
    return undefined;
  }
}

function isKind<Kind extends RoundBody["kind"]>(body: RoundBody, kind: Kind): body is BodyOf<Kind> {
  return body.kind === kind;
}
