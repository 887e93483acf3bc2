import { afterAll, beforeAll, expect, test } from "vitest";

import { collectRounds, reduceMessage, verifyExecution } from "../../../host/settlement/index.ts";
import { ROUND_MESSAGE, type ReducedMessage, type RoundMessage } from "../../../protocol/index.ts";
import { closeRun, runTask, type TestRun } from "../../helpers/evidence-rig.ts";
import { someDigest } from "../../helpers/synthetic-round.ts";

let run: TestRun;
let honest: readonly ReducedMessage[];

beforeAll(async () => {
  run = await runTask();
  honest = run.messages.map(reduceMessage).filter((message) => message !== null);
});

afterAll(() => closeRun(run));

function oneOf(kind: ReducedMessage["body"]["kind"]): ReducedMessage {
  const found = honest.find((message) => message.body.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
}

const failure = { kind: "failed", code: "EXECUTION_TIMED_OUT", executing: false } as const;

const emptyResult = (): ReducedMessage["body"] => ({
  kind: "round_result",
  bundle: new Uint8Array(1),
  outcome: { ciphertext: someDigest("x"), shares: [] },
});

const INTRUSIONS: readonly { title: string; message: () => ReducedMessage }[] = [
  {
    title: "another actor's aggregator",
    message: () => ({
      ...oneOf("aggregator_ready"),
      sender: "vault-3",
      body: { kind: "aggregator_ready", manifest: new Uint8Array(1) },
    }),
  },
  {
    title: "another actor's aggregator evidence",
    message: () => ({
      ...oneOf("aggregator_evidence"),
      sender: "vault-3",
      body: { kind: "aggregator_evidence", vault_id: "vault-1", evidence: new Uint8Array(1) },
    }),
  },
  {
    title: "another actor's result",
    message: () => ({ ...oneOf("round_result"), sender: "submitter", body: emptyResult() }),
  },
  {
    title: "a slice result of nobody who takes part",
    message: () => ({ ...oneOf("slice_result"), sender: "vault-9" }),
  },
  {
    title: "a second attempt",
    message: () => ({ ...oneOf("round_result"), attempt: 1 }),
  },
  {
    title: "a round that the task does not have",
    message: () => ({ ...oneOf("slice_result"), round: 1 }),
  },
  {
    title: "another envelope",
    message: () => ({ ...oneOf("round_result"), envelope_digest: someDigest("other") }),
  },
  {
    title: "a failure of a later round",
    message: () => ({ ...oneOf("round_result"), round: 1, body: failure }),
  },
  {
    title: "a second, empty result of the aggregator",
    message: () => ({
      ...oneOf("round_result"),
      body: emptyResult(),
    }),
  },
  {
    title: "a second manifest of a Vault",
    message: () => ({
      ...oneOf("slice_attested"),
      body: {
        kind: "slice_attested",
        manifest: new Uint8Array(1),
        evidence_for_aggregator: null,
        vault_evidence: new Uint8Array(1),
        vault_random: someDigest("x"),
      },
    }),
  },
];

test.for(INTRUSIONS)("[SP-1] $title changes nothing of a round's evidence", ({ message }) => {
  const rounds = collectRounds([...honest, message()], run.task.envelope);
  expect(rounds).toEqual(run.rounds);
  const { governance, anchors, task } = run;
  expect(
    verifyExecution({ envelope: task.envelope, governance, anchors, rounds }).participants,
  ).toHaveLength(3);
});

test("[SP-1] who posts first in another's name changes nothing either", () => {
  const intruders = INTRUSIONS.slice(0, 8).map(({ message }) => message());
  expect(collectRounds([...intruders, ...honest], run.task.envelope)).toEqual(run.rounds);
});

test("[SP-1] bytes that are no round message, and an outcome that is none, are passed over", () => {
  const { task } = run;
  const message: RoundMessage = {
    envelope_digest: task.envelopeDigest,
    round: 0,
    attempt: 0,
    sender: "vault-1",
    body: {
      kind: "slice_result",
      order: new Uint8Array(3),
      bundle: new Uint8Array(3),
      sealed: new Uint8Array(3),
    },
  };
  const [vault] = task.network.vaults;
  if (vault === undefined) throw new Error("no Vault");
  expect(reduceMessage(ROUND_MESSAGE.sign(message, vault.signing))).toBeNull();
  expect(reduceMessage(new Uint8Array(5))).toBeNull();
});

test("a round without a result of the aggregator is incomplete", () => {
  const without = honest.filter((message) => message.body.kind !== "round_result");
  expect(() => collectRounds(without, run.task.envelope)).toThrow(
    expect.objectContaining({ code: "PROOF_BUNDLE_INCOMPLETE" }),
  );
});
