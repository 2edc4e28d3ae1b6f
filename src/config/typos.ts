import { LATER_SETTINGS, SETTINGS, type Setting } from './table.js'

/** Environment variables that look like a mistyped setting of ours, each as a sentence with the name that was probably meant. */
export function suspiciousNames(given: Record<string, string>): string[] {
  const known = knownNames()
  return Object.keys(given)
    .filter(name => !known.includes(name))
    .flatMap(name => {
      const meant = known.find(candidate => isAlike(name, candidate))
      if (meant !== undefined) return [`${name} is not a setting; ${meant} is`]
      if (known.some(candidate => name === `${candidate}_FILE`))
        return [`${name} is not a setting: only secrets have a _FILE`]
      return isOurs(name) ? [`${name} is not a setting`] : []
    })
}

function knownNames(): string[] {
  const settings = Object.values(SETTINGS).flatMap(slice => Object.values<Setting<unknown>>(slice))
  const names = settings.flatMap(({ name, secret }) => (secret ? [name, `${name}_FILE`] : [name]))
  return [...names, ...LATER_SETTINGS.map(({ name }) => name)]
}

/** Kubernetes sets `SEGMIND_GATEWAY_PORT` and its like by itself for a service of that name. */
function isOurs(name: string): boolean {
  return name.startsWith('SEGMIND_') && !name.startsWith('SEGMIND_GATEWAY_')
}

const LONG_NAME = 8

/** The same letters (`SEGMIND_APIKEY`), or for names long enough not to be hit by chance, at most two letters off (`REDIS_URI`). */
function isAlike(name: string, candidate: string): boolean {
  const bare = (text: string) => text.toUpperCase().replaceAll(/[_-]/g, '')
  if (bare(name) === bare(candidate)) return true
  return candidate.length >= LONG_NAME && distance(name, candidate) <= (candidate.length > LONG_NAME + 3 ? 2 : 1)
}

/** Levenshtein's: insertions, deletions and replacements that turn one text into the other. */
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
