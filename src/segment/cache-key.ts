import { hash } from 'node:crypto'
import type { CacheKey, Digest, Params, PixelDigest } from '../contracts/types.js'

/** Change this when equal requests no longer have equal results, or when the key's form changes. */
export const KEY_PARTS = { version: 'v1', model: 'sam-v2-image' } as const

/**
 * Derives the cache key of a request (docs/reference.md, Cache): SHA-256 in hex over a JSON list of
 * fixed length, so that different requests never share a key. `scope` is the team under
 * `CACHE_SCOPE=team`, else empty. Points keep their order, because it may affect the picture.
 */
export function cacheKey(digest: Digest, params: Params, scope: string): CacheKey {
  const members = [KEY_PARTS.version, KEY_PARTS.model, scope, digest, ...canonicalParams(params)]
  return hash('sha256', JSON.stringify(members))
}

const PIXEL_KEY_VERSION = 'p1'

/**
 * Derives a key from the pixels of the image: equal for equal pixels, parameters and scope,
 * whatever the encoding.
 */
export function pixelKey({ width, height, sha256 }: PixelDigest, params: Params, scope: string): string {
  const members = [PIXEL_KEY_VERSION, scope, width, height, sha256, ...canonicalParams(params)]
  return hash('sha256', JSON.stringify(members))
}

/** Returns the parameters as a list of fixed length. */
export function canonicalParams({ prompt, coordinates, removeCoordinates, overlayMask }: Params): unknown[] {
  return [prompt ?? null, coordinates ?? null, removeCoordinates ?? null, overlayMask]
}
