import { z } from "zod";

import { bytesBounds } from "./bytes-bounds.ts";

/** What `z.toJSONSchema` gives, as far as it is read here. */
interface Shape {
  readonly type?: string | undefined;
  readonly const?: string | number | boolean | null | undefined;
  readonly enum?: readonly string[] | undefined;
  readonly pattern?: string | undefined;
  readonly bytes?: string | undefined;
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly minItems?: number | undefined;
  readonly maxItems?: number | undefined;
  readonly properties?: Readonly<Record<string, Shape>> | undefined;
  readonly propertyNames?: Shape | undefined;
  readonly additionalProperties?: Shape | boolean | undefined;
  readonly items?: Shape | boolean | undefined;
  readonly prefixItems?: readonly Shape[] | undefined;
  readonly anyOf?: readonly Shape[] | undefined;
  readonly oneOf?: readonly Shape[] | undefined;
  readonly allOf?: readonly Shape[] | undefined;
}

const shapeSchema: z.ZodType<Shape> = z.lazy(() =>
  z.object({
    type: z.string().optional(),
    const: z.union([z.string(), z.number(), z.boolean(), z.null()]).optional(),
    enum: z.array(z.string()).optional(),
    pattern: z.string().optional(),
    bytes: z.string().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    minLength: z.number().optional(),
    maxLength: z.number().optional(),
    minItems: z.number().optional(),
    maxItems: z.number().optional(),
    properties: z.record(z.string(), shapeSchema).optional(),
    propertyNames: shapeSchema.optional(),
    additionalProperties: z.union([shapeSchema, z.boolean()]).optional(),
    items: z.union([shapeSchema, z.boolean()]).optional(),
    prefixItems: z.array(shapeSchema).optional(),
    anyOf: z.array(shapeSchema).optional(),
    oneOf: z.array(shapeSchema).optional(),
    allOf: z.array(shapeSchema).optional(),
  }),
);

/** Types that the page names once; the text of the type, then its name. */
export type NamedTypes = ReadonlyMap<string, string>;

/**
 * A zod schema of `protocol/` in the notation of RFC 8610, one field a line.
 *
 * @param names - Types that are written by their name where they occur inside.
 */
export function cddlOf(schema: z.ZodType, names: NamedTypes): string {
  const json = z.toJSONSchema(schema, {
    unrepresentable: "any",
    reused: "inline",
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type !== "custom") return;
      const probed = bytesIn(zodSchema);
      if (probed !== undefined) Object.assign(jsonSchema, { bytes: probed });
    },
  });
  return textOf(shapeSchema.parse(json), "", names);
}

/** The size a byte-string schema asks for. */
function bytesIn(schema: z.core.$ZodType): string | undefined {
  const bounds = bytesBounds(schema);
  if (bounds === undefined) return undefined;
  const { min, max } = bounds;
  if (max === null) return "any";
  return min === max ? `bstr .size ${max}` : `bstr .size (${min}..${max})`;
}

function textOf(shape: Shape, indent: string, names: NamedTypes): string {
  const text = plainText(shape, indent, names);
  return names.get(text.replaceAll(/\s+/g, " ")) ?? text;
}

function plainText(shape: Shape, indent: string, names: NamedTypes): string {
  const alternatives = shape.anyOf ?? shape.oneOf;
  if (alternatives !== undefined) {
    return alternatives.map((each) => textOf(each, indent, names)).join(" / ");
  }
  const [only] = shape.allOf ?? [];
  if (only !== undefined) return textOf(only, indent, names);
  if (shape.const !== undefined) return JSON.stringify(shape.const);
  if (shape.enum !== undefined) return shape.enum.map((each) => JSON.stringify(each)).join(" / ");
  if (shape.bytes !== undefined) return shape.bytes;
  switch (shape.type) {
    case "object":
      return mapText(shape, indent, names);
    case "array":
      return arrayText(shape, indent, names);
    case "integer":
      return integerText(shape);
    case "string":
      return stringText(shape);
    case "boolean":
      return "bool";
    case "null":
      return "nil";
    default:
      return "any";
  }
}

/** A map as its fields, or as `{ * tstr => item }` when its keys are free. */
function mapText(shape: Shape, indent: string, names: NamedTypes): string {
  const inner = `${indent}  `;
  const { propertyNames, additionalProperties } = shape;
  if (propertyNames !== undefined && typeof additionalProperties === "object") {
    const key = textOf(propertyNames, inner, names);
    return `{ * (${key}) => ${textOf(additionalProperties, inner, names)} }`;
  }
  const fields = Object.entries(shape.properties ?? {}).map(
    ([name, field]) => `${inner}${name}: ${textOf(field, inner, names)},\n`,
  );
  return `{\n${fields.join("")}${indent}}`;
}

function arrayText(shape: Shape, indent: string, names: NamedTypes): string {
  if (shape.prefixItems !== undefined) {
    return `[${shape.prefixItems.map((each) => textOf(each, indent, names)).join(", ")}]`;
  }
  const item = typeof shape.items === "object" ? textOf(shape.items, indent, names) : "any";
  const { minItems = 0, maxItems } = shape;
  const many = isChoice(shape.items) && item.includes(" / ") ? `(${item})` : item;
  return `[${minItems}*${maxItems ?? ""} ${many}]`;
}

function isChoice(items: Shape["items"]): boolean {
  if (typeof items !== "object") return false;
  return (items.anyOf ?? items.oneOf ?? items.enum) !== undefined;
}

function integerText({ minimum, maximum }: Shape): string {
  const least = minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER ? "" : `${minimum}`;
  const most = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? "" : `${maximum}`;
  if (least === "" && most === "") return "int";
  if (least === "0" && most === "") return "uint";
  return most === "" ? `int .ge ${least}` : `${least}..${most}`;
}

function stringText({ pattern, minLength, maxLength }: Shape): string {
  if (pattern !== undefined) return `tstr .regexp ${JSON.stringify(pattern)}`;
  if (minLength === undefined && maxLength === undefined) return "tstr";
  return `tstr .size (${minLength ?? 0}..${maxLength ?? ""})`;
}
