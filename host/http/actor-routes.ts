import { actorRole } from "#protocol";
import type { FastifyInstance } from "fastify";
import { z } from "zod";

import type { ActorView } from "../governance/index.ts";
import { addRoute, fromPath, json, nothing } from "./route.ts";

/** What the public routes about actors need of the coordinator. */
export interface ActorRoutesContext {
  /** In the order of their registration. */
  readonly actors: () => readonly ActorView[];
  /** @throws RefusedError AUTH_UNKNOWN_ACTOR */
  readonly actor: (actorId: string) => ActorView;
}

const named = z.object({ id: z.string().max(128) });
const amount = z.int().min(0);

/** An actor of the network, the keys it has had, and what has become of its deposits. Minor units. */
export const actorViewSchema = z.object({
  actor_id: z.string(),
  role: actorRole,
  status: z.enum(["active", "suspended", "retired"]),
  signing_key: z.string(),
  keys: z.array(
    z.object({ key_id: z.string(), from_epoch: z.int(), until_epoch: z.int().nullable() }),
  ),
  stake: z.object({
    required_minor: amount,
    bonded_minor: amount,
    deposited_minor: amount,
    unbonding_minor: amount,
    unbonding: z.array(z.object({ amount_minor: amount, release_epoch: z.int() })),
    withdrawn_minor: amount,
    slashed_minor: amount,
    slashes: z.array(
      z.object({ condition: z.string(), evidence: z.string(), amount_minor: amount }),
    ),
  }),
});

/** `/v1/governance/actors`: who there is, with which keys and stake; all of it is public. */
export function addActorRoutes(server: FastifyInstance, context: ActorRoutesContext): void {
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/actors",
    summary: "Lists every actor with its keys and stake, in the order of registration.",
    takes: nothing,
    gives: json(z.object({ actors: z.array(actorViewSchema) })),
    handle: async () => ({ actors: [...context.actors()] }),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/governance/actors/:id",
    summary: "Gives one actor with its keys and stake.",
    takes: fromPath(named),
    gives: json(actorViewSchema),
    handle: async ({ id }) => context.actor(id),
  });
}
