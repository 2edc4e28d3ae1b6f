import { LATER_SETTINGS } from './later-settings.js'
import type { Setting } from './setting.js'
import { SETTINGS } from './table.js'

/**
 * Finds environment variables that look like mistyped settings. Returns one sentence each, with the
 * likely name.
 */
export function suspiciousNames(given: Record<string, string>): string[] {
  const known = knownNames()
  return Object.keys(given)
    .filter(name => !known.includes(name))
    .flatMap(name => {
      const likely = known.find(candidate => isAlike(name, candidate))
      if (likely !== undefined) return [`${name} is not a setting; did you mean ${likely}?`]
      if (known.some(candidate => name === `${candidate}_FILE`))
        return [`${name} is not a setting: only secrets can be read from a file`]
      return hasOurPrefix(name) ? [`${name} is not a setting`] : []
    })
}

function knownNames(): string[] {
  const settings = Object.values(SETTINGS).flatMap(slice => Object.values<Setting<unknown>>(slice))
  const names = settings.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))
  return [...names, ...LATER_SETTINGS.map(({ name }) => name)]
}

/**
 * Excludes `SEGMIND_GATEWAY_PORT` and similar names, which Kubernetes sets for a service of that
 * name.
 */
function hasOurPrefix(name: string): boolean {
  return name.startsWith('SEGMIND_') && !name.startsWith('SEGMIND_GATEWAY_')
}

const LONG_NAME = 8

/**
 * Matches the same letters (`SEGMIND_APIKEY`) or, for names long enough, an edit distance of at
 * most two (`REDIS_URI`).
 */
function isAlike(name: string, candidate: string): boolean {
  const bare = (text: string) => text.toUpperCase().replaceAll(/[_-]/g, '')
  if (bare(name) === bare(candidate)) return true
  return candidate.length >= LONG_NAME && distance(name, candidate) <= (candidate.length > LONG_NAME + 3 ? 2 : 1)
}

/** Returns the Levenshtein distance. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const next = [i]
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
