import type { LedgerEntry } from '../../contracts/ledger.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { ForeignSpend, HistoryRow } from '../../contracts/request-history.js'
import { cacheKey } from '../../segment/cache-key.js'

/** The model that this gateway calls. */
const MODEL = 'sam-v2-image'
/** Difference between Segmind's clock and the gateway's that is tolerated. */
const CLOCK_MS = 30_000
/** Time in which the row of a call, or the entry of a call, may still be missing. */
export const LANDING_MS = 120_000
/** Age from which a failed row ends a call that has no id: a row of a billed one would exist by now. */
const FAILED_FINAL_MS = 600_000

/** Returns what a request cost: 0 if it was not billed, undefined while it is not known. */
export function costOf(row: HistoryRow): Nanocredits | undefined {
  if (row.status === 'failed') return 0
  return row.status === 'completed' ? row.cost : undefined
}

/** Tells whether a row is of the call, by what was asked. Undefined if the row does not contain that. */
export function isQuestionOf(
  { question }: HistoryRow,
  { resultId, sentKey = resultId, team }: LedgerEntry,
): boolean | undefined {
  return question && ['', team].some(scope => cacheKey(question.image, question.params, scope) === sentKey)
}

/** Segmind's ids of a call. A call without a response has none, unless it was submitted as a job. */
export function idsOf({ jobId, settled }: LedgerEntry): string[] {
  return [jobId, settled?.upstreamRequestId].filter(id => id !== undefined)
}

export interface MatchInput {
  /** Complete since `since`. */
  rows: readonly HistoryRow[]
  /** The calls since then, of any state, that `relevantTo` keeps. */
  entries: readonly LedgerEntry[]
  since: number
  now: number
}

export interface Matches {
  /** Calls without an id, and the rows that must be theirs. */
  assigned: { entry: LedgerEntry; row: HistoryRow }[]
  /** Spending that belongs to no call. */
  foreign: ForeignSpend[]
}

/**
 * Matches rows that have no call with calls that have no id, and finds foreign spending. Returns
 * nothing where the ids of rows and responses are evidently not the same.
 */
export function matchRows({ rows, entries, since, now }: MatchInput): Matches {
  const known = new Set(entries.flatMap(idsOf))
  if (!areComparable({ rows, entries, since, now })) return { assigned: [], foreign: [] }
  const free = rows.filter(row => !known.has(row.requestId) && row.at !== undefined && row.at >= since)
  const nameless = entries.filter(entry => idsOf(entry).length === 0)
  const windows = nameless.map(entry => windowOf(entry, now)).sort((one, other) => one.from - other.from)
  const own = free.filter(({ model }) => model === MODEL)
  const proven = prove(windows, own)
  const isOpen = (window: Window) => !proven.some(({ entry }) => entry === window.entry)
  const others = own.filter(row => !proven.some(pair => pair.row === row))
  const guessed = clustersOf(windows.filter(isOpen)).flatMap(cluster => assign(cluster, others, { since, now }))
  const assigned = [...proven, ...guessed]
  const isCovered = (row: HistoryRow) => row.model === MODEL && windows.some(window => isWithin(row, window))
  const foreign = free.filter(row => (row.at ?? now) <= now - LANDING_MS && !isCovered(row))
  return { assigned, foreign: foreign.flatMap(toForeign) }
}

/**
 * Returns a filter of the calls that can change what `matchRows` finds: those with a row, those without
 * an id near a row or near an unknown call, and one whose row is missing.
 */
export function relevantTo(
  { rows, since, now }: Omit<MatchInput, 'entries'>,
  unknown: readonly LedgerEntry[],
): (entry: LedgerEntry) => boolean {
  const ids = new Set(rows.map(({ requestId }) => requestId))
  const open = unknown.map(entry => windowOf(entry, now))
  let hasMissing = false
  return entry => {
    const own = idsOf(entry)
    if (own.some(id => ids.has(id))) return true
    if (own.length > 0) {
      if (hasMissing || !shouldHaveRow(entry, { since, now })) return false
      hasMissing = true
      return true
    }
    const window = windowOf(entry, now)
    const isNear = (other: Window) => other.from <= window.to && other.to >= window.from
    return entry.state !== 'charged' || rows.some(row => isWithin(row, window)) || open.some(isNear)
  }
}

/** False if calls with an id should have rows, and none has. */
function areComparable({ rows, entries, since, now }: MatchInput): boolean {
  const ids = new Set(rows.map(({ requestId }) => requestId))
  const expected = entries.filter(entry => shouldHaveRow(entry, { since, now }))
  const named = expected.map(idsOf).filter(own => own.length > 0)
  return named.length === 0 || named.some(own => own.some(id => ids.has(id)))
}

function shouldHaveRow(
  { state, at, settled }: LedgerEntry,
  { since, now }: Pick<MatchInput, 'since' | 'now'>,
): boolean {
  return state === 'charged' && at >= since && now - (settled?.settledAt ?? now) >= LANDING_MS
}

/** The time in which Segmind may have received a call. */
interface Window {
  entry: LedgerEntry
  from: number
  to: number
}

function windowOf(entry: LedgerEntry, now: number): Window {
  return { entry, from: entry.at - CLOCK_MS, to: (entry.settled?.settledAt ?? now) + CLOCK_MS }
}

const isWithin = ({ at = Number.NaN }: HistoryRow, { from, to }: Window): boolean => at >= from && at <= to

/** Groups windows that overlap. `windows` is in order of their beginning. */
function clustersOf(windows: readonly Window[]): Window[][] {
  const clusters: Window[][] = []
  let endsAt = Number.NEGATIVE_INFINITY
  for (const window of windows) {
    if (window.from > endsAt) clusters.push([])
    clusters.at(-1)?.push(window)
    endsAt = Math.max(endsAt, window.to)
  }
  return clusters
}

/** Pairs unknown calls with the only row that asks the same question in their time. */
function prove(windows: readonly Window[], free: readonly HistoryRow[]): Matches['assigned'] {
  return windows.flatMap(window => {
    const { entry } = window
    const isRival = (other: Window) =>
      other.entry.resultId === entry.resultId && other.from <= window.to && other.to >= window.from
    const [row, ...more] = free.filter(each => isWithin(each, window) && isQuestionOf(each, entry))
    const isCertain = entry.state === 'unknown' && row && more.length === 0 && windows.filter(isRival).length === 1
    return isCertain ? [{ entry, row }] : []
  })
}

/**
 * Pairs calls and rows in the order of their times if there are as many of one as of the other. No pair
 * may contradict what the row says was asked.
 */
function assign(
  cluster: readonly Window[],
  free: readonly HistoryRow[],
  { since, now }: Pick<MatchInput, 'since' | 'now'>,
): Matches['assigned'] {
  if (cluster.some(({ entry, from }) => entry.state !== 'unknown' || from < since)) return []
  const rows = free.filter(row => cluster.some(window => isWithin(row, window)))
  if (rows.some(row => costOf(row) === undefined)) return []
  const billed = rows.filter(row => costOf(row) !== 0)
  const isFinal = cluster.every(({ to }) => now - to >= FAILED_FINAL_MS)
  const candidates = [billed, ...(isFinal ? [rows] : [])].find(({ length }) => length === cluster.length)
  const ordered = candidates?.toSorted((one, other) => (one.at ?? 0) - (other.at ?? 0)) ?? []
  const pairs = ordered.flatMap((row, index) => {
    const window = cluster[index]
    return window && isWithin(row, window) && isQuestionOf(row, window.entry) !== false
      ? [{ entry: window.entry, row }]
      : []
  })
  return pairs.length === cluster.length ? pairs : []
}

function toForeign(row: HistoryRow): ForeignSpend[] {
  const { requestId, model, at = 0, user } = row
  const cost = costOf(row)
  return cost ? [{ requestId, at, model, cost, ...(user !== undefined && { user }) }] : []
}
