import { collectFacts } from './facts.js'
import type { History } from './history.js'

/** Number of occurrences by name. */
export type Tally = { requests?: number; calls?: number; [name: string]: number | undefined }

/**
 * Counts faults, calls, responses and ledger entries of a run, so that a passing run shows its
 * coverage.
 */
export function tallyOf(history: History): Tally {
  const tally: Tally = {}
  const count = (name: string, by = 1) => {
    tally[name] = (tally[name] ?? 0) + by
  }
  count('requests', history.requests.length)
  count('calls', history.calls.length)
  count(`runs with ${history.api}`)
  for (const { kind } of history.faults) count(`fault ${kind}`)
  if (history.clockOffsetsMs.some(offset => offset !== 0)) count('fault clocks-differ')
  if (!history.hasAllRows) count('fault rows-missing')
  for (const { kind, billed, hasWrongFigures } of history.calls) {
    count(`call ${kind}`)
    if (hasWrongFigures) count('fault figure-wrong')
    count(`billed ${billed}`)
  }
  for (const { outcome } of history.requests) {
    if (outcome.kind === 'aborted') count('fault client-aborted')
    else if (outcome.kind === 'answered') count(`answer ${outcome.cache}`)
    else if (outcome.kind === 'problem') count(`answer ${outcome.code}`)
    else count('answer none: the gateway ended')
  }
  for (const { status } of history.finals) count(status === 200 ? 'final hit' : 'final not cached')
  const hadRedisFault = history.faults.some(({ kind }) => kind.startsWith('redis-'))
  for (const { state, purchase, jobId } of collectFacts(history).entries) {
    if (!hadRedisFault && purchase === 'unguarded') count('purchase unguarded without a Redis fault')
    count(`entry ${state}`)
    count(`purchase ${purchase ?? 'first'}`)
    if (jobId !== undefined) count('entry with a job')
  }
  return tally
}

/** Adds `more` to `sum`. */
export function addTally(sum: Tally, more: Tally): void {
  for (const [name, times] of Object.entries(more)) sum[name] = (sum[name] ?? 0) + (times ?? 0)
}

/** Formats a tally as one line per kind. */
export function formatTally(tally: Tally): string {
  const kinds = new Map<string, string[]>()
  for (const name of Object.keys(tally).sort()) {
    const [kind = '', ...rest] = name.split(' ')
    kinds.set(kind, [...(kinds.get(kind) ?? []), `${rest.join(' ')} ${tally[name]}`.trim()])
  }
  return [...kinds].map(([kind, counts]) => `${kind}: ${counts.join(' · ')}`).join('\n')
}
