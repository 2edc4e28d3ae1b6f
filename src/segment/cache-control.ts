import type { CacheDirectives } from './types.js'

/** The largest age that caches tell apart (RFC 9111 §1.2.2). */
const MAX_DELTA_SECONDS = 2 ** 31
const DIRECTIVE = /([^\s,;="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g

/**
 * Reads the `Cache-Control` of a request (RFC 9111 §5.2): names in any case, values with or without quotes, several headers joined by commas.
 * Unknown directives are ignored; of several `max-age` the least counts, and one that is no number of seconds counts as 0, the cautious reading.
 */
export function parseCacheControl(header: string | readonly string[] | undefined): CacheDirectives {
  const text = typeof header === 'string' ? header : (header ?? []).join(',')
  const directives: CacheDirectives = { noCache: false, noStore: false, onlyIfCached: false }
  for (const [, name = '', quoted, token] of text.matchAll(DIRECTIVE)) {
    obey(directives, name.toLowerCase(), quoted ?? token ?? '')
  }
  return directives
}

function obey(directives: CacheDirectives, name: string, value: string): void {
  if (name === 'no-cache') directives.noCache = true
  if (name === 'no-store') directives.noStore = true
  if (name === 'only-if-cached') directives.onlyIfCached = true
  if (name === 'max-age') {
    directives.maxAgeSeconds = Math.min(parseSeconds(value), directives.maxAgeSeconds ?? MAX_DELTA_SECONDS)
  }
}

function parseSeconds(value: string): number {
  return /^\d+$/.test(value) ? Math.min(Number(value), MAX_DELTA_SECONDS) : 0
}
