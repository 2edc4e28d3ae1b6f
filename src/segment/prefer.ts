import type { Preferences } from './question.js'

const PREFERENCE = /([^\s,;="]+)\s*(?:=\s*(?:"([^"]*)"|([^\s,;"]*)))?([^,]*)/g

/**
 * Reads the `Prefer` of a request (RFC 7240): `respond-async` and `wait` in seconds, names in any case, several headers joined by commas. Of one that is
 * named twice the first counts; what is unknown, or no number of seconds, is ignored, as the RFC asks.
 */
export function parsePrefer(header: string | readonly string[] | undefined): Preferences {
  const text = typeof header === 'string' ? header : (header ?? []).join(',')
  const said = new Map<string, string>()
  for (const [, name = '', quoted, token] of text.matchAll(PREFERENCE)) {
    if (!said.has(name.toLowerCase())) said.set(name.toLowerCase(), quoted ?? token ?? '')
  }
  const wait = said.get('wait') ?? ''
  return {
    respondAsync: said.has('respond-async'),
    ...(/^\d{1,6}$/.test(wait) && { waitMs: Number(wait) * 1000 }),
  }
}
