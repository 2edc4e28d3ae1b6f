import { createHash, type Hash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.js'

/** Algorithms of RFC 9530 §5 that are not deprecated, and their length in bytes. */
const LENGTHS = { 'sha-256': 32, 'sha-512': 64 } as const

type Algorithm = keyof typeof LENGTHS

/** What a request says its body hashes to. */
export type BodyDigests = ReadonlyMap<Algorithm, Buffer>

const FIELDS = ['content-digest', 'repr-digest'] as const
const MEMBER = /^\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*$/

/**
 * Reads `Content-Digest` and `Repr-Digest` (RFC 9530); a body without a content coding has one and the same of both. Unknown algorithms are ignored.
 * Throws `invalid_request` where one cannot be read, or two contradict each other.
 */
export function readDigests(headers: IncomingHttpHeaders): BodyDigests {
  const digests = new Map<Algorithm, Buffer>()
  for (const field of FIELDS) {
    for (const member of [headers[field] ?? []].flat().join(',').split(',')) {
      if (member.trim() !== '') takeMember(digests, member, field)
    }
  }
  return digests
}

function takeMember(digests: Map<Algorithm, Buffer>, member: string, field: string): void {
  const [, name, text = ''] = MEMBER.exec(member) ?? []
  if (name === undefined) throw unreadable(field)
  if (!isAlgorithm(name)) return
  const digest = Buffer.from(text, 'base64')
  if (digest.length !== LENGTHS[name]) throw unreadable(field)
  if (digests.get(name)?.equals(digest) === false)
    throw new GatewayError('invalid_request', 'Content-Digest and Repr-Digest contradict each other.')
  digests.set(name, digest)
}

/** Hashes a body while something else reads it, or all at once; answers its SHA-256 as hex where the request has named it. */
export interface DigestCheck {
  add(bytes: Buffer): void
  /** Throws `invalid_request` when the body is another one than was announced. */
  finish(): string | undefined
}

export function checkDigests(digests: BodyDigests): DigestCheck {
  const hashes = new Map<Algorithm, Hash>()
  for (const name of digests.keys()) hashes.set(name, createHash(name.replace('-', '')))
  return {
    add: bytes => {
      for (const hash of hashes.values()) hash.update(bytes)
    },
    finish: () => {
      for (const [name, hash] of hashes) {
        const announced = digests.get(name)
        if (announced && timingSafeEqual(hash.digest(), announced)) continue
        throw new GatewayError(
          'invalid_request',
          `The body does not have the ${name} digest that the request announced.`,
        )
      }
      return digests.get('sha-256')?.toString('hex')
    },
  }
}

/** Resolves when a body that somebody else has parsed is read to its last byte: there may be an epilogue. */
export async function wholeBody(raw: IncomingMessage): Promise<void> {
  if (raw.readableEnded || raw.destroyed) return
  raw.resume()
  await once(raw, 'end', { signal: AbortSignal.timeout(EPILOGUE_MS) }).catch(cause => {
    throw new GatewayError('invalid_request', 'The body was cut off before its end.', { cause })
  })
}

const EPILOGUE_MS = 10_000

function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(LENGTHS, name)
}

function unreadable(field: string): GatewayError {
  return new GatewayError(
    'invalid_request',
    `${field} cannot be read; it takes sha-256=:<base64>: or sha-512=:<base64>: (RFC 9530).`,
  )
}
