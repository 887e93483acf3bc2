import { z } from "zod";

import { bytesBounds } from "./bytes-bounds.ts";

const DRAFT = "https://json-schema.org/draft/2020-12/schema";

/** A JSON Schema, as far as it is read here. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

const ABOUT = `Every object of docs/wire.md as JSON. On the wire these are deterministic CBOR; here a byte string is
lower-case hex, so its text is twice as long. "$comment" names rules that a schema cannot say; the bytes that a digest or
a signature covers are the CBOR, never this JSON.`;

/** One document whose `$defs` are the schemas, each by its name; a schema used inside another is a reference to it. */
export function bundleOf(
  schemas: readonly (readonly [name: string, schema: z.ZodType])[],
): JsonSchema {
  const registry = z.registry<{ id: string }>();
  for (const [name, schema] of schemas) registry.add(schema, { id: name });
  const { schemas: defined } = z.toJSONSchema(registry, {
    uri: (name) => `#/$defs/${name}`,
    unrepresentable: "any",
    override: honest,
  });
  return {
    $schema: DRAFT,
    $id: "urn:symphony:schema:v1",
    title: "Symphony protocol objects, version 1",
    description: ABOUT.replaceAll("\n", " "),
    $defs: Object.fromEntries(
      schemas.map(([name]) => {
        const { $schema: _schema, $id: _id, ...rest } = defined[name] ?? {};
        return [name, rest];
      }),
    ),
  };
}

/** One schema with everything inside it. @param io - Whether defaults are still to be filled in. */
export function inlineSchema(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  const { $schema: _schema, ...rest } = z.toJSONSchema(schema, {
    ...{ io, reused: "inline", unrepresentable: "any", override: honest },
  });
  return rest;
}

/** Says what zod leaves out: byte strings, and rules of our own by their words. */
function honest({
  zodSchema,
  jsonSchema,
}: {
  readonly zodSchema: z.core.$ZodTypes;
  readonly jsonSchema: JsonSchema;
}): void {
  // Of a list that the code does not add to it says nothing about what is sent.
  delete jsonSchema.readOnly;
  const { def } = zodSchema._zod;
  const bounds = def.type === "custom" ? bytesBounds(zodSchema) : undefined;
  if (bounds !== undefined) return void Object.assign(jsonSchema, hexText(bounds));
  const rules = (def.checks ?? []).flatMap((check) => {
    const { error } = check._zod.def;
    if (check._zod.def.check !== "custom" || error === undefined) return [];
    const text: unknown = Reflect.apply(error, undefined, [{}]);
    return typeof text === "string" ? [text] : [];
  });
  if (rules.length > 0) jsonSchema.$comment = rules.join("; ");
}

function hexText({ min, max }: { readonly min: number; readonly max: number | null }): JsonSchema {
  return {
    type: "string",
    contentEncoding: "base16",
    pattern: "^(?:[0-9a-f]{2})*$",
    ...(min === 0 ? {} : { minLength: 2 * min }),
    ...(max === null ? {} : { maxLength: 2 * max }),
  };
}
