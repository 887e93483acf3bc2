import type { ActorLog } from "../../host/evidence/actor-log.ts";
import type { Carried, CosignedHead, Vault } from "../../host/sovereignty/index.ts";
import {
  HEAD_QUESTION,
  HEAD_STATEMENT,
  WITNESS_ANSWER,
  WITNESS_QUESTION,
  cosignCheckpoint,
  genesisState,
  parseCose,
  signCheckpoint,
} from "../../protocol/index.ts";
import { NETWORK_TIME_MS, testSeed, type TestActor, type TestNetwork } from "./network.ts";

/** What `witness` answers when it has never cosigned anything of the asker, and trusts it. */
export function trustingAnswer(
  witness: TestActor,
  about: "witness" | "witnessed",
  question: Uint8Array,
): Uint8Array {
  if (about === "witness") {
    const { checkpoint } = WITNESS_QUESTION.decode(parseCose(question).payload);
    const cosigned = cosignCheckpoint(checkpoint, {
      signerName: witness.actorId,
      key: witness.signing,
      timeSeconds: NETWORK_TIME_MS / 1000,
    });
    return WITNESS_ANSWER.encode({ result: "cosigned", checkpoint: cosigned });
  }
  const { genesis_digest, vault_id, nonce } = HEAD_QUESTION.decode(question);
  const witness_id = witness.actorId;
  return HEAD_STATEMENT.sign(
    {
      version: 1,
      ...{ genesis_digest, vault_id, witness_id, nonce },
      checkpoint: null,
      restarts: [],
    },
    witness.signing,
  );
}

/** Answers of every other Vault of the network, each a trusting one. */
export function trustingAnswers(
  network: TestNetwork,
  vaultId: string,
  ask: { readonly about: "witness" | "witnessed"; readonly question: Uint8Array },
): Carried[] {
  return network.vaults
    .filter(({ actorId }) => actorId !== vaultId)
    .map((witness) => ({
      actorId: witness.actorId,
      answer: trustingAnswer(witness, ask.about, ask.question),
    }));
}

/** The present head of a log as `witnesses` cosign it. */
export function cosignedHead(log: ActorLog, witnesses: readonly TestActor[]): CosignedHead {
  const note = witnesses.reduce(
    (text, { actorId, signing }) =>
      cosignCheckpoint(text, {
        signerName: actorId,
        key: signing,
        timeSeconds: NETWORK_TIME_MS / 1000,
      }),
    log.checkpoint(),
  );
  return { note, size: log.size };
}

/** Has every other Vault of the network cosign the head of `vault`'s log as one that it never cosigned before. */
export async function cosignVault(vault: Vault, network: TestNetwork): Promise<void> {
  const governance = genesisState(network.genesisBytes);
  const asked = vault.witness.ask(governance);
  const { question } = asked;
  for (const answer of trustingAnswers(network, vault.vaultId, { about: "witness", question })) {
    await vault.witness.take(asked, answer, governance);
  }
}

/** Shows a Vault a head five events newer than its log, which it signed and does not hold. */
export async function freezeVault(args: {
  readonly vault: Vault;
  readonly network: TestNetwork;
}): Promise<void> {
  const { vault, network } = args;
  const [actor, other] = network.vaults.toSorted(({ actorId }) =>
    actorId === vault.vaultId ? -1 : 1,
  );
  if (actor === undefined || other === undefined) throw new Error("expected two Vaults");
  const governance = genesisState(network.genesisBytes);
  const checkpoint = signCheckpoint({
    ...{ origin: vault.log.origin, size: vault.log.size + 5, root: testSeed("forgotten") },
    ...{ signerName: actor.actorId, key: actor.signing },
  });
  const answer = WITNESS_ANSWER.encode({ result: "held", checkpoint, restarts: [] });
  const carried = { actorId: other.actorId, answer };
  await vault.witness.take(vault.witness.ask(governance), carried, governance);
}

/** Has every other Vault of the network confirm `vault` as one that nobody has witnessed. */
export async function confirmVault(vault: Vault, network: TestNetwork): Promise<void> {
  const governance = genesisState(network.genesisBytes);
  const nonce = testSeed(`nonce for ${vault.vaultId}`);
  const question = vault.witness.headQuestion(nonce, governance);
  const answers = trustingAnswers(network, vault.vaultId, { about: "witnessed", question });
  await vault.witness.confirm(answers, { nonce, governance });
}
