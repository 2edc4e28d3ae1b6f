import { createHash } from 'node:crypto'
import type { CacheKey, Digest, Params } from './types.js'

/** Changes when the same question would no longer have the same answer, or is written down differently. */
export const KEY_PARTS = { version: 'v1', model: 'sam-v2-image' } as const

/**
 * Names the answer to one question (SPEC §4): SHA-256, as hex, over a JSON list of fixed length, so that no two questions are written alike.
 * `scope` is the team under `CACHE_SCOPE=team`, else empty. Points keep their order: whether it alters the picture is not known.
 */
export function cacheKey(digest: Digest, params: Params, scope: string): CacheKey {
  const question = [KEY_PARTS.version, KEY_PARTS.model, scope, digest, ...canonicalParams(params)]
  return createHash('sha256').update(JSON.stringify(question)).digest('hex')
}

/** The parameters as a list of fixed length. */
export function canonicalParams({ prompt, coordinates, removeCoordinates, overlayMask }: Params): unknown[] {
  return [prompt ?? null, coordinates ?? null, removeCoordinates ?? null, overlayMask]
}
