import { createHash } from 'node:crypto'

const LENGTH = 32

/** Computes the strong validator of a body: the first 32 hex digits of its SHA-256, without quotes. */
export function etagOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex').slice(0, LENGTH)
}
