import { createHash, type Hash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { GatewayError } from '../../contracts/errors.js'

/** Algorithms of RFC 9530 §5 that are not deprecated, with their digest length in bytes. */
const LENGTHS = { 'sha-256': 32, 'sha-512': 64 } as const

type Algorithm = keyof typeof LENGTHS

/** Digests of the body that a request declares. */
export type BodyDigests = ReadonlyMap<Algorithm, Buffer>

const FIELDS = ['content-digest', 'repr-digest'] as const
const MEMBER = /^\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*$/

/**
 * Reads `Content-Digest` and `Repr-Digest` (RFC 9530). The two are equal for a body without a
 * content coding. Ignores unknown algorithms. Throws `invalid_request` for a malformed field, or
 * for two digests that differ.
 */
export function readDigests(headers: IncomingHttpHeaders): BodyDigests {
  const digests = new Map<Algorithm, Buffer>()
  for (const field of FIELDS) {
    const value = headers[field]
    if (value === undefined) continue
    for (const member of [value].flat().join(',').split(',')) {
      if (member.trim() !== '') addMember(digests, member, field)
    }
  }
  return digests
}

function addMember(digests: Map<Algorithm, Buffer>, member: string, field: string): void {
  const [, name, text = ''] = MEMBER.exec(member) ?? []
  if (name === undefined) throw malformed(field)
  if (!isAlgorithm(name)) return
  const digest = Buffer.from(text, 'base64')
  if (digest.length !== LENGTHS[name]) throw malformed(field)
  if (digests.get(name)?.equals(digest) === false)
    throw new GatewayError('invalid_request', 'Content-Digest and Repr-Digest contradict each other.')
  digests.set(name, digest)
}

/** Compares a body with its declared digests. */
export interface DigestCheck {
  add(bytes: Buffer): void
  /**
   * Returns the declared SHA-256 (hex), if there is one. Throws `invalid_request` when a digest
   * does not match.
   */
  finish(): string | undefined
}

export function createDigestCheck(digests: BodyDigests): DigestCheck {
  const hashes = new Map<Algorithm, Hash>()
  for (const name of digests.keys()) hashes.set(name, createHash(name.replace('-', '')))
  return {
    add: bytes => {
      for (const hash of hashes.values()) hash.update(bytes)
    },
    finish: () => {
      for (const [name, hash] of hashes) {
        const declared = digests.get(name)
        if (declared && timingSafeEqual(hash.digest(), declared)) continue
        const detail = `The body does not match the ${name} digest that the request declares.`
        throw new GatewayError('invalid_request', detail)
      }
      return digests.get('sha-256')?.toString('hex')
    },
  }
}

const EPILOGUE_MS = 10_000

/** Reads a parsed body to its last byte: a multipart body may have an epilogue. */
export async function readEpilogue(raw: IncomingMessage): Promise<void> {
  if (raw.readableEnded || raw.destroyed) return
  raw.resume()
  await once(raw, 'end', { signal: AbortSignal.timeout(EPILOGUE_MS) }).catch(cause => {
    throw new GatewayError('invalid_request', 'The body was cut off before its end.', { cause })
  })
}

function isAlgorithm(name: string): name is Algorithm {
  return Object.hasOwn(LENGTHS, name)
}

function malformed(field: string): GatewayError {
  const detail = `${field} is malformed. Send sha-256=:<base64>: or sha-512=:<base64>: (RFC 9530).`
  return new GatewayError('invalid_request', detail)
}
