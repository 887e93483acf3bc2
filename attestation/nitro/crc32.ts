/** The reflected polynomial of CRC-32/ISO-HDLC, which zlib and EIF use (RFC 1952 § 8). */
const POLYNOMIAL = 0xedb8_8320;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  return value;
});

/**
 * CRC-32 of `bytes`, going on from `previous`: the value so far, or 0. An error check, no protection.
 *
 * Written out because this module touches no builtin but `node:crypto`.
 */
export function crc32(bytes: Uint8Array, previous: number): number {
  let value = ~previous;
  for (let at = 0; at < bytes.length; at++) {
    value = (value >>> 8) ^ (TABLE[(value ^ (bytes[at] ?? 0)) & 0xff] ?? 0);
  }
  return ~value >>> 0;
}
