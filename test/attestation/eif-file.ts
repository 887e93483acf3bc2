import { crc32 } from "node:zlib";

import { concat, fromHex, utf8 } from "../../protocol/index.ts";

/** One section as it will be written. */
export interface Section {
  readonly type: number;
  readonly data: Uint8Array;
  readonly flags?: number;
}

/** Sections of a small image: kernel, command line, metadata, two ramdisks. */
export const SECTIONS: readonly Section[] = [
  { type: 1, data: utf8("a kernel") },
  { type: 2, data: utf8("console=ttyS0") },
  { type: 5, data: utf8(`{"ImageName":"test"}`) },
  { type: 3, data: utf8("first ramdisk") },
  { type: 3, data: utf8("second ramdisk") },
];

/** How a written file differs from a good one. Changes are made before the CRC is computed. */
export interface EifChanges {
  readonly sections?: readonly Section[];
  readonly version?: number;
  readonly flags?: number;
  readonly count?: number;
  /** Changes the header and section bytes in place. */
  readonly edit?: (file: DataView) => void;
}

/** Writes an enclave image file, independently of what reads it. */
export function writeEif(changes: EifChanges = {}): Uint8Array {
  const sections = changes.sections ?? SECTIONS;
  const header = new DataView(new ArrayBuffer(548));
  new Uint8Array(header.buffer).set(utf8(".eif"));
  header.setUint16(4, changes.version ?? 4);
  header.setUint16(6, changes.flags ?? 0);
  header.setBigUint64(8, 1n << 30n);
  header.setBigUint64(16, 2n);
  header.setUint16(26, changes.count ?? sections.length);
  let offset = 548;
  const parts = sections.slice(0, 32).map(({ type, data, flags = 0 }, index) => {
    header.setBigUint64(28 + 8 * index, BigInt(offset));
    header.setBigUint64(284 + 8 * index, BigInt(data.length));
    offset += 12 + data.length;
    const head = new DataView(new ArrayBuffer(12));
    head.setUint16(0, type);
    head.setUint16(2, flags);
    head.setBigUint64(4, BigInt(data.length));
    return concat(new Uint8Array(head.buffer), data);
  });
  const file = concat(new Uint8Array(header.buffer), ...parts);
  const view = new DataView(file.buffer);
  changes.edit?.(view);
  view.setUint32(544, crc32(file.subarray(548), crc32(file.subarray(0, 544))));
  return file;
}

/** A signature section that names `certificate`: CBOR with byte strings as arrays of integers. */
export function signatureSection(certificate: Uint8Array): Section {
  const body = Buffer.from(certificate)
    .toString("base64")
    .replaceAll(/.{64}/g, (line) => `${line}\n`);
  const pem = utf8(`-----BEGIN CERTIFICATE-----\n${body.trimEnd()}\n-----END CERTIFICATE-----\n`);
  const data = concat(
    fromHex("81a2"),
    text("signing_certificate"),
    integers(pem),
    text("signature"),
    integers(utf8("a signature that nobody verifies")),
  );
  return { type: 4, data };
}

function text(value: string): Uint8Array {
  return concat(Uint8Array.of(0x60 + value.length), utf8(value));
}

function integers(bytes: Uint8Array): Uint8Array {
  const items = [...bytes].flatMap((byte) => (byte < 24 ? [byte] : [0x18, byte]));
  const { length } = bytes;
  const head = length < 256 ? [0x98, length] : [0x99, length >> 8, length & 0xff];
  return Uint8Array.of(...head, ...items);
}
