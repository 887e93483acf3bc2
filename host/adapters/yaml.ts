import { MalformedError } from "#protocol";
import {
  Composer,
  Lexer,
  LineCounter,
  Parser,
  isMap,
  isScalar,
  isSeq,
  type CST,
  type Document,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";

/** Where something stands in a text. Lines and columns count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** What a text says, and where each value of it stands. */
export interface PlacedValue {
  /** Objects, arrays, text, safe integers, booleans and null. */
  readonly value: unknown;
  /** Where the value at `path` stands; that of the nearest value around it when there is none. */
  readonly placeOf: (path: readonly PropertyKey[]) => Place;
}

/** Deepest nesting: twice what any document of ours needs. */
const DEPTH_MAX = 32;
/** The parser's stack has the document and a scalar, too. */
const STACK_MAX = DEPTH_MAX + 2;
const DECIMAL_INTEGER = /^-?(?:0|[1-9]\d*)$/;

/** A value with its place, and those inside it. */
interface Placed {
  readonly offset: number;
  readonly value: unknown;
  readonly inner: ReadonlyMap<string, Placed>;
}

/** Ends the reading. @throws MalformedError */
type Fail = (offset: number, expectation: string) => never;

/**
 * Reads one document of YAML 1.2 with the core schema, of which JSON is a part.
 *
 * What gets registered and signed has to say what it shows. So aliases, anchors, tags, directives, further documents,
 * keys twice, keys that are not text, numbers other than safe integers in decimal digits, and nesting deeper than 32
 * are refused.
 *
 * @param text - Of a size that the caller has bounded.
 * @param subject - What is read, for messages.
 * @throws {@link MalformedError} SCHEMA_JSON_MALFORMED with line and column
 */
export function parseYaml(text: string, subject: string): PlacedValue {
  const lines = new LineCounter();
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const fail: Fail = (offset, expectation) => {
    const { line, column } = placeAt(offset);
    throw new MalformedError(
      { code: "SCHEMA_JSON_MALFORMED", line, column },
      `${subject} line ${line} column ${column}: ${expectation}`,
    );
  };
  const document = theDocument(tokensOf(text, lines, fail), fail);
  const root = placed(document.contents, document.range[0], fail);
  return { value: root.value, placeOf: (path) => placeAt(nearest(root, path).offset) };
}

/** Tokens of a text, none nested too deep: what composes them recurses. */
function* tokensOf(text: string, lines: LineCounter, fail: Fail): Generator<CST.Token> {
  lines.addNewLine(0);
  const parser = new Parser(lines.addNewLine);
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    if (parser.stack.length > STACK_MAX) {
      fail(parser.offset, `expected at most ${DEPTH_MAX} levels, got more`);
    }
  }
  yield* parser.end();
}

/** The one document of the tokens. */
function theDocument(tokens: Iterable<CST.Token>, fail: Fail): Document.Parsed {
  const options = { version: "1.2", schema: "core", uniqueKeys: false } as const;
  const composer = new Composer({ ...options, merge: false, strict: true });
  const [document, second] = composer.compose(tokens);
  if (document === undefined) return fail(0, "expected YAML or JSON, got nothing");
  const [fault] = [...document.errors, ...document.warnings];
  if (fault !== undefined) {
    const [first = ""] = fault.message.split("\n");
    fail(fault.pos[0], `expected YAML or JSON, got a fault: ${first}`);
  }
  if (second !== undefined) fail(second.range[0], "expected one document, got another");
  const { yaml, tags } = document.directives;
  if (yaml.explicit === true || Object.keys(tags).length > 1) {
    fail(0, "expected no directives, got one");
  }
  return document;
}

function placed(node: unknown, offset: number, fail: Fail): Placed {
  const at = offsetOf(node, offset);
  if (isScalar(node)) {
    requirePlain(node, at, fail);
    return { offset: at, value: scalarOf(node, at, fail), inner: new Map() };
  }
  if (isSeq(node)) return placedList(node, at, fail);
  if (isMap(node)) return placedMap(node, at, fail);
  if (node === null || node === undefined) return { offset: at, value: null, inner: new Map() };
  return fail(at, "expected a value, got an alias of another");
}

function offsetOf(node: unknown, otherwise: number): number {
  const ranged = isScalar(node) || isSeq(node) || isMap(node) ? node.range : undefined;
  return ranged?.[0] ?? otherwise;
}

function placedList(node: YAMLSeq, offset: number, fail: Fail): Placed {
  requirePlain(node, offset, fail);
  const items = node.items.map((item) => placed(item, offset, fail));
  return {
    offset,
    value: items.map(({ value }) => value),
    inner: new Map(items.map((item, index) => [String(index), item])),
  };
}

function placedMap(node: YAMLMap, offset: number, fail: Fail): Placed {
  requirePlain(node, offset, fail);
  const inner = new Map<string, Placed>();
  for (const { key, value } of node.items) {
    const at = offsetOf(key, offset);
    if (!isScalar(key) || typeof key.value !== "string") {
      return fail(at, "expected text as a key, got another value");
    }
    requirePlain(key, at, fail);
    if (inner.has(key.value)) fail(at, `expected each key once, got ${key.value} again`);
    // A value that says nothing stands where its key does.
    inner.set(key.value, placed(value, at, fail));
  }
  const entries = [...inner].map(([name, { value }]) => [name, value] as const);
  return { offset, value: Object.fromEntries(entries), inner };
}

function requirePlain(node: Scalar | YAMLSeq | YAMLMap, offset: number, fail: Fail): void {
  if (node.anchor !== undefined) fail(offset, "expected no anchor, got one");
  if (node.tag !== undefined) fail(offset, "expected no tag, got one");
}

function scalarOf({ value, source }: Scalar, offset: number, fail: Fail): unknown {
  if (typeof value !== "number") return value;
  if (Number.isSafeInteger(value) && DECIMAL_INTEGER.test(source ?? "")) return value;
  return fail(offset, `expected an integer in decimal digits or text in quotes, got ${source}`);
}

/** The value at `path`, or the last one on the way to it. */
function nearest(root: Placed, path: readonly PropertyKey[]): Placed {
  let at = root;
  for (const key of path) {
    const next = at.inner.get(String(key));
    if (next === undefined) break;
    at = next;
  }
  return at;
}
