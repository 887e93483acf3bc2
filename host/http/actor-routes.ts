import type { FastifyInstance } from "fastify";
import { z } from "zod";

import type { ActorView } from "../governance/index.ts";
import { actorViewSchema } from "./actor-views.ts";
import { addRoute, fromPath, json, nothing } from "./route.ts";

/** What the public routes about actors need of the coordinator. */
export interface ActorRoutesContext {
  /** In the order of their registration. */
  readonly actors: () => readonly ActorView[];
  /** @throws RefusedError AUTH_UNKNOWN_ACTOR */
  readonly actor: (actorId: string) => ActorView;
}

const named = z.object({ id: z.string().max(128) });
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
