import {
  FrameReader,
  MalformedError,
  RefusedError,
  SymphonyError,
  decodeCbor,
  digestOf,
  encodeCbor,
  encodeFrame,
  parseWith,
  type CanonicalAttribute,
  type RecordScope,
} from "#protocol";
import { z } from "zod";

import { IMAGE_BYTES_MAX, parseImageHeader } from "./document-image.ts";
import { IDENTITY_ROWS, type RowMapping } from "./row-mapping.ts";
import { PrefixDigest, type RowSource, type SourceRow } from "./source.ts";

/** Longest name and subject of a document, UTF-16 units; most bytes of the frame that says both. */
export const DOCUMENT_NAME_MAX = 200;
const LABEL_BYTES_MAX = 2 * 1024;

const LENGTH_BYTES = 4;

const labelSchema = z.strictObject({
  name: z.string().min(1).max(DOCUMENT_NAME_MAX),
  subject: z.string().max(DOCUMENT_NAME_MAX),
});

/** One document on its way into a Vault. */
export interface IngestDocument {
  /** What the operator calls it: its file name. */
  readonly name: string;
  /** Value of the subject attribute: whose document it is. */
  readonly subject: string;
  /** A PNG or JPEG of at most 8 MiB. */
  readonly image: Uint8Array;
}

/**
 * Writes documents as one stream, two frames for each (`protocol/frame.ts`):
 *
 *     label   CBOR map { name: text, subject: text }
 *     image   the bytes of the document
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED for a name or a subject that is none.
 */
export async function* documentFrames(
  documents: AsyncIterable<IngestDocument> | Iterable<IngestDocument>,
): AsyncGenerator<Uint8Array> {
  for await (const { name, subject, image } of documents) {
    const label = { name: name.normalize("NFC"), subject: subject.normalize("NFC") };
    yield encodeFrame(encodeCbor(parseWith(labelSchema, label, "document")));
    yield encodeFrame(image);
  }
}

/** Columns of {@link openDocuments}. */
const COLUMNS = ["image", "subject", "name"] as const;

/**
 * Reads what {@link documentFrames} wrote, as it arrives; holds one document. A document is a row, and its number its
 * line. One that is no PNG or JPEG is a row at fault; the pixels are not decoded.
 *
 * @returns The rows. From `rows`:
 * @throws {@link MalformedError} SCHEMA_MALFORMED, SCHEMA_CBOR_MALFORMED for a label that is none, and an end inside a document.
 * @throws {@link LimitError} SCHEMA_TOO_LARGE for an image above 8 MiB or a label above 2 KiB.
 */
export function openDocuments(source: AsyncIterable<Uint8Array>): RowSource {
  const prefix = new PrefixDigest();
  return {
    columns: COLUMNS,
    rows: readDocuments(prefix.through(source)),
    digestAt: (end) => prefix.at(end),
    digest: () => prefix.whole(),
  };
}

async function* readDocuments(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<readonly SourceRow[]> {
  const frames = new FrameReader(IMAGE_BYTES_MAX);
  let label: z.infer<typeof labelSchema> | undefined;
  let line = 0;
  let end = 0;
  let arrived = 0;
  for await (const bytes of source) {
    arrived += bytes.length;
    const rows: SourceRow[] = [];
    for (const payload of frames.push(bytes)) {
      end += LENGTH_BYTES + payload.length;
      if (label === undefined) {
        label = parseLabel(payload);
        continue;
      }
      line += 1;
      rows.push(rowOf(label, payload, { line, end }));
      label = undefined;
    }
    if (rows.length > 0) yield rows;
  }
  if (label !== undefined || end < arrived) {
    throw new MalformedError(
      { code: "SCHEMA_MALFORMED", line: line + 1 },
      `document ${line + 1}: expected all of it, got an end`,
    );
  }
}

function parseLabel(payload: Uint8Array): z.infer<typeof labelSchema> {
  return parseWith(labelSchema, decodeCbor(payload, LABEL_BYTES_MAX), "document");
}

function rowOf(
  { name, subject }: z.infer<typeof labelSchema>,
  image: Uint8Array,
  place: { readonly line: number; readonly end: number },
): SourceRow {
  try {
    parseImageHeader(image);
  } catch (error) {
    if (!(error instanceof SymphonyError)) throw error;
    return { ...place, fault: { column: "image", expected: String(error.details["expected"]) } };
  }
  return { ...place, cells: [image, subject, name] };
}

/**
 * What becomes of a document: the scope's one attribute of bytes takes the image, its subject attribute the subject,
 * another attribute of text, if there is one, the name.
 *
 * @throws {@link RefusedError} DERIVATION_UNRESOLVED for a scope of other attributes.
 */
export function documentMapping(scope: {
  readonly recordScope: RecordScope;
  readonly attributes: readonly CanonicalAttribute[];
}): RowMapping {
  const { image, subject, name } = documentAttributes(scope);
  const columns = new Map([
    [image, "image"],
    [subject, "subject"],
    [name, "name"],
  ]);
  return {
    digest: digestOf("ingest-documents", { image, subject, name: name ?? null }),
    rules: null,
    bind: (given, attributes) => {
      const wanted = attributes.map((attribute) => columns.get(attribute) ?? attribute);
      return IDENTITY_ROWS.bind(
        given.filter((column) => column !== "name" || name !== undefined),
        wanted,
      );
    },
  };
}

function documentAttributes({
  recordScope,
  attributes,
}: {
  readonly recordScope: RecordScope;
  readonly attributes: readonly CanonicalAttribute[];
}): { image: string; subject: string; name: string | undefined } {
  const own = attributes.filter(({ attribute_id: id }) => recordScope.attribute_ids.includes(id));
  const subject = recordScope.subject_attribute_id;
  const images = own.filter(({ type }) => type === "bytes");
  const texts = own.filter(({ type }) => type === "text");
  const names = texts.filter(({ attribute_id: id }) => id !== subject);
  const [image] = images;
  const fits =
    images.length === 1 && names.length <= 1 && images.length + texts.length === own.length;
  if (image === undefined || !fits) {
    throw new RefusedError(
      { code: "DERIVATION_UNRESOLVED", record_scope: recordScope.record_scope_id },
      `record scope ${recordScope.record_scope_id}: expected one attribute of bytes, a subject and at most one other text`,
    );
  }
  return { image: image.attribute_id, subject, name: names[0]?.attribute_id };
}
