import {
  ROUND_MESSAGE,
  UnavailableError,
  equalBytes,
  parseCose,
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

/**
 * One round's messages as a participant takes part in them.
 *
 * A message counts only when its sender, an actor of the network, signed it for this envelope, round and attempt;
 * others are passed over, so a coordinator can drop or delay and nothing else.
 */
export class RoundBoard {
  readonly #transport: BoardTransport;
  readonly #self: { readonly actorId: string; readonly key: SigningKey };
  readonly #governance: GovernanceState;
  readonly #round: {
    readonly envelopeDigest: Uint8Array;
    readonly round: number;
    readonly attempt: number;
  };
  readonly #nowMs: () => number;
  readonly #seen: RoundMessage[] = [];
  #position = 0;
  #closed = false;
  #ended: Error | undefined;

  constructor(args: {
    readonly transport: BoardTransport;
    readonly self: { readonly actorId: string; readonly key: SigningKey };
    readonly governance: GovernanceState;
    readonly round: {
      readonly envelopeDigest: Uint8Array;
      readonly round: number;
      readonly attempt: number;
    };
    readonly nowMs: () => number;
  }) {
    this.#transport = args.transport;
    this.#self = args.self;
    this.#governance = args.governance;
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
    for (const { position, message } of messages) {
      this.#position = Math.max(this.#position, position);
      const verified = readRoundMessage(message, this.#governance);
      if (verified !== undefined && this.#concerns(verified)) this.#seen.push(verified);
    }
    this.#closed = closed;
    return messages.length > 0;
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

/** A message its sender signed, or undefined when nobody of the network did. */
export function readRoundMessage(
  signed: Uint8Array,
  governance: GovernanceState,
): RoundMessage | undefined {
  try {
    const claimed = ROUND_MESSAGE.decode(parseCose(signed).payload);
    const sender = governance.actors.get(claimed.sender);
    if (sender?.status !== "active") return undefined;
    return ROUND_MESSAGE.verify(signed, sender.signing_key);
  } catch {
    return undefined;
  }
}

function isKind<Kind extends RoundBody["kind"]>(body: RoundBody, kind: Kind): body is BodyOf<Kind> {
  return body.kind === kind;
}
