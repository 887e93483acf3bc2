import { LimitError, MalformedError } from "#protocol";

/** An image, or an archive in it, of another shape. Nothing of its content is in the message. */
export function imageFault(subject: string, expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_IMAGE_MALFORMED", field: subject },
    `${subject}: expected ${expected}, got ${got}`,
  );
}

/** More of something than an image may have. */
export function imageTooLarge(subject: string, max: number, got: number | string): LimitError {
  return new LimitError(
    { code: "SCHEMA_TOO_LARGE", max },
    `${subject}: expected at most ${max}, got ${got}`,
  );
}
