import { openBooks } from './books.js'
import type { History } from './history.js'

/** How often each thing came about, by its name. */
export type Tally = { requests?: number; calls?: number; [name: string]: number | undefined }

/** Counts what a run was made of: a harness that finds nothing must be able to say what it has tried. */
export function tallyOf(history: History): Tally {
  const tally: Tally = {}
  const count = (name: string, by = 1) => {
    tally[name] = (tally[name] ?? 0) + by
  }
  count('requests', history.requests.length)
  count('calls', history.calls.length)
  count(`runs with ${history.api}`)
  for (const { kind } of history.faults) count(`fault ${kind}`)
  for (const { kind, billed } of history.calls) {
    count(`call ${kind}`)
    count(`billed ${billed}`)
  }
  for (const { outcome } of history.requests) {
    if (outcome.kind === 'aborted') count('fault client-aborted')
    else if (outcome.kind === 'answered') count(`answer ${outcome.cache}`)
    else if (outcome.kind === 'problem') count(`answer ${outcome.code}`)
    else count('answer none: its gateway ended')
  }
  for (const { status } of history.finals) count(status === 200 ? 'final hit' : 'final not cached')
  const isRedisWell = !history.faults.some(({ kind }) => kind.startsWith('redis-'))
  for (const { state, purchase, jobId } of openBooks(history).entries) {
    if (isRedisWell && purchase === 'unguarded') count('purchase unguarded though nothing was done to Redis')
    count(`entry ${state}`)
    count(`purchase ${purchase ?? 'first'}`)
    if (jobId !== undefined) count('entry with a job')
  }
  return tally
}

/** Adds the second to the first. */
export function addUp(sum: Tally, more: Tally): void {
  for (const [name, times] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + (times ?? 0)
}

/** A line for each kind of thing. */
export function tell(tally: Tally): string {
  const kinds = new Map<string, string[]>()
  for (const name of Object.keys(tally).sort()) {
    const [kind = '', ...rest] = name.split(' ')
    kinds.set(kind, [...(kinds.get(kind) ?? []), `${rest.join(' ')} ${tally[name]}`.trim()])
  }
  return [...kinds].map(([kind, counts]) => `${kind}: ${counts.join(' · ')}`).join('\n')
}
