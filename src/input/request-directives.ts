import { defined } from '../contracts/defined.js'
import type { CacheDirectives, Preferences } from '../contracts/types.js'

/** Largest age that caches distinguish (RFC 9111 §1.2.2). */
const MAX_DELTA_SECONDS = 2 ** 31
const DIRECTIVE = /([^\s,;="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/g

const NO_DIRECTIVES: CacheDirectives = Object.freeze({ noCache: false, noStore: false, onlyIfCached: false })

/**
 * Parses the `Cache-Control` of a request (RFC 9111 §5.2): names in any case, values with or
 * without quotes, several headers joined by commas. Ignores unknown directives, and a `max-age`
 * that is not a number of seconds: a purchase must not follow from a typo. The smallest `max-age`
 * wins.
 */
export function parseCacheControl(header: string | readonly string[] | undefined): CacheDirectives {
  if (header === undefined) return NO_DIRECTIVES
  const text = typeof header === 'string' ? header : header.join(',')
  const directives: CacheDirectives = { noCache: false, noStore: false, onlyIfCached: false }
  for (const [, name = '', quoted, token] of text.matchAll(DIRECTIVE)) {
    applyDirective(directives, name.toLowerCase(), quoted ?? token ?? '')
  }
  return directives
}

function applyDirective(directives: CacheDirectives, name: string, value: string): void {
  if (name === 'no-cache') directives.noCache = true
  if (name === 'no-store') directives.noStore = true
  if (name === 'only-if-cached') directives.onlyIfCached = true
  if (name === 'max-age' && /^\d+$/.test(value)) {
    directives.maxAgeSeconds = Math.min(Number(value), directives.maxAgeSeconds ?? MAX_DELTA_SECONDS)
  }
}

const PREFERENCE = /([^\s,;="]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,;"]*)))?([^,]*)/g

/**
 * Parses the `Prefer` of a request (RFC 7240): `respond-async`, and `wait` in seconds. Names in any
 * case, several headers joined by commas. The first of several equal names wins. Ignores unknown
 * preferences and a `wait` that is not a number of seconds, as the RFC requires.
 */
export function parsePrefer(header: string | readonly string[]): Preferences {
  const text = typeof header === 'string' ? header : header.join(',')
  const preferences = new Map<string, string>()
  for (const [, name = '', quoted, token] of text.matchAll(PREFERENCE)) {
    if (!preferences.has(name.toLowerCase())) preferences.set(name.toLowerCase(), quoted ?? token ?? '')
  }
  const wait = preferences.get('wait') ?? ''
  return {
    respondAsync: preferences.has('respond-async'),
    ...defined({ waitMs: /^\d{1,6}$/.test(wait) ? Number(wait) * 1000 : undefined }),
  }
}

/** Parses `X-Priority`: `batch`, or `interactive`, which is the default for every other value. */
export function parsePriority(header: string | readonly string[]): 'interactive' | 'batch' {
  const text = typeof header === 'string' ? header : header.join(',')
  return /^\s*batch\s*$/i.test(text) ? 'batch' : 'interactive'
}
