import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { ForeignSpend, HistoryRow, HistoryStatus } from '../../contracts/request-history.js'
import type { LedgerEntry, LedgerStore, LedgerTotals, RecordStore } from '../../contracts/store.js'
import { readAccount } from '../account/record.js'
import { PeriodicRun } from '../periodic-run.js'
import type { BudgetCalendar } from '../windows.js'
import { recordCorrection } from './correction.js'
import {
  costOf,
  idsOf,
  isQuestionOf,
  LANDING_MS,
  type Matches,
  type MatchInput,
  matchRows,
  relevantTo,
} from './match.js'
import type { HistoryObserver, LostPicture, RequestHistory } from './ports.js'
import {
  afterFailure,
  afterSuccess,
  firstProgress,
  MAX_FOREIGN,
  type Progress,
  readProgress,
  writeProgress,
} from './progress.js'

export interface HistoryReconcilerOptions {
  history: RequestHistory
  ledger: Pick<LedgerStore, 'totals' | 'unknownSince' | 'entries' | 'entry' | 'settle' | 'release'>
  records: RecordStore
  calendar: BudgetCalendar
  /** Fetches a paid picture whose response was lost, and puts it into the cache. */
  rescue(picture: LostPicture): Promise<void>
  /** The clock that all replicas share. */
  now: Clock
  /** Time between two looks for something to learn, milliseconds. Default: one minute. */
  everyMs?: number | undefined
  observer: HistoryObserver
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Age of a call up to which its row is looked for. */
const HORIZON_MS = 48 * HOUR_MS
/** Age up to which it is looked for each time. Later only every half hour. */
const YOUNG_MS = 15 * MINUTE_MS
const SLOW_MS = 30 * MINUTE_MS
/** Age up to which requests are listed, so that two days of the ledger cover them. */
const LIST_MS = 23 * HOUR_MS
/** Longer than one reading takes. A dead reader is replaced after it. */
const CLAIM_MS = 5 * MINUTE_MS
const MAX_UNKNOWN = 1_000
/** Calls that are looked up by their ids at once. */
const MAX_FINDS = 40
/** Errors that say nothing about whether the history may be used. */
const TRANSIENT: ReadonlySet<string> = new Set(['upstream_timeout', 'upstream_unavailable', 'upstream_busy'])

/** Facts that make a reading worthwhile. */
interface News {
  totals: LedgerTotals
  unknown: LedgerEntry[]
  /** Spending since this time may be foreign. Absent before the first balance. */
  foreignSince?: number
  isSlow: boolean
}

/**
 * Learns from Segmind's request history what calls with an unknown or estimated cost have cost, and
 * who else spends. One replica at a time reads it, and only while there is something to learn.
 */
export class HistoryReconciler {
  readonly #options: HistoryReconcilerOptions
  readonly #periodic: PeriodicRun
  #progress: Progress | undefined

  constructor(options: HistoryReconcilerOptions) {
    this.#options = options
    const onFailed = (error: unknown) => options.observer.storeFailed(error, 'request history')
    this.#periodic = new PeriodicRun({
      run: () => this.#reconcile(),
      everyMs: options.everyMs ?? MINUTE_MS,
      onFailed,
    })
  }

  get status(): HistoryStatus {
    const { state, since, lastError, foreign } = this.#progress ?? firstProgress(0)
    return { state, foreign, ...(since > 0 && { since }), ...defined({ lastError }) }
  }

  start(): void {
    this.#periodic.start()
  }

  /**
   * Reads the history once, unless there is nothing to learn or another replica reads it. Never
   * rejects.
   */
  reconcile(): Promise<void> {
    return this.#periodic.now()
  }

  close(): Promise<void> {
    return this.#periodic.close()
  }

  async #reconcile(): Promise<void> {
    const { records, now } = this.#options
    const { progress = firstProgress(now()), version } = await readProgress(records)
    this.#progress = progress
    if (now() < progress.nextAt) return
    const news = await this.#newsSince(progress)
    if (!news) return
    const nextAt = now() + CLAIM_MS
    if (!(await writeProgress(records, { ...progress, nextAt }, version))) return
    const next = await this.#learn(progress, news).then(
      learned => afterSuccess(learned, now()),
      error => {
        if (!(error instanceof GatewayError)) throw error
        return afterFailure(progress, { isRefusal: !TRANSIENT.has(error.code), text: error.message, now: now() })
      },
    )
    const claimed = await readProgress(records)
    if (claimed.progress?.nextAt !== nextAt || !(await writeProgress(records, next, claimed.version))) return
    this.#progress = next
    if (next.state !== progress.state) this.#options.observer.historyStateChanged(next)
  }

  /**
   * Returns undefined if there is nothing to learn, or nothing new. A history not in use is probed.
   */
  async #newsSince(progress: Progress): Promise<News | undefined> {
    const { ledger, records, now } = this.#options
    const [totals, unknown, { record }] = await Promise.all([
      ledger.totals(),
      ledger.unknownSince(now() - HORIZON_MS, MAX_UNKNOWN),
      readAccount(records),
    ])
    const isSlow = now() - progress.slowAt >= SLOW_MS
    const { listedUntil = 0 } = progress
    const foreignEvent = record?.events.find(({ kind, at }) => kind === 'foreign' && at > listedUntil)
    const isDue =
      progress.state !== 'on' ||
      totals.estimatedCalls !== progress.estimated ||
      progress.hasYoung ||
      (isSlow && progress.hasOld) ||
      foreignEvent !== undefined
    const firstBalanceAt = Object.values(record?.months ?? {})[0]?.opening.at
    const since = Math.max(firstBalanceAt ?? 0, (listedUntil || (foreignEvent?.at ?? now())) - HOUR_MS)
    return isDue ? { totals, unknown, isSlow, ...(firstBalanceAt && { foreignSince: since }) } : undefined
  }

  async #learn(progress: Progress, { totals, unknown, foreignSince, isSlow }: News): Promise<Progress> {
    const { history, now } = this.#options
    const estimated = await this.#recentEntries(isEstimatedWithId)
    const open = [...estimated, ...unknown].filter(entry => ageOf(entry, now()) < HORIZON_MS)
    const due = open.filter(entry => isSlow || ageOf(entry, now()) < YOUNG_MS)
    const until = now()
    const earliest = Math.min(foreignSince ?? until, ...due.map(({ at }) => at - HOUR_MS))
    const since = Math.max(until - LIST_MS, earliest)
    const listed = await history.list(since, until)
    const byId = new Map(listed.rows.map(row => [row.requestId, row]))
    const learned = new Set<string>()
    const apply = async (entry: LedgerEntry, row: HistoryRow | undefined) => {
      if (row && (await this.#apply(entry, row))) learned.add(entry.callId)
    }
    const named = due.filter(entry => idsOf(entry).length > 0).sort((one, other) => other.at - one.at)
    for (const entry of named.slice(0, MAX_FINDS)) await apply(entry, await this.#rowOf(entry, byId))
    const matches = listed.isComplete
      ? await this.#match({ rows: listed.rows, since, now: until }, unknown)
      : { assigned: [], foreign: [] }
    for (const { entry, row } of matches.assigned) await apply(entry, row)
    const left = open.filter(({ callId }) => !learned.has(callId))
    return {
      ...progress,
      slowAt: isSlow ? until : progress.slowAt,
      estimated: totals.estimatedCalls - learned.size,
      hasYoung: left.some(entry => ageOf(entry, until) < YOUNG_MS),
      hasOld: left.length > 0,
      listedUntil: until - LANDING_MS,
      foreign: mergeForeign(
        progress.foreign,
        matches.foreign.filter(({ at }) => at >= (foreignSince ?? until)),
      ),
    }
  }

  async #match(listed: Omit<MatchInput, 'entries'>, unknown: readonly LedgerEntry[]): Promise<Matches> {
    const entries = listed.rows.length > 0 ? await this.#recentEntries(relevantTo(listed, unknown)) : []
    return matchRows({ ...listed, entries })
  }

  /**
   * Reads two days in pages and keeps few of their entries: a day may have hundreds of thousands.
   */
  async #recentEntries(isWanted: (entry: LedgerEntry) => boolean): Promise<LedgerEntry[]> {
    const { ledger, calendar, now } = this.#options
    const days = new Set([now() - LIST_MS - HOUR_MS, now()].map(at => calendar.windows(at).day))
    const wanted: LedgerEntry[] = []
    for (const day of days)
      for await (const page of ledger.entries(day)) for (const entry of page) if (isWanted(entry)) wanted.push(entry)
    return wanted
  }

  async #rowOf(entry: LedgerEntry, listed: ReadonlyMap<string, HistoryRow>): Promise<HistoryRow | undefined> {
    const ids = idsOf(entry)
    const known = ids.map(id => listed.get(id)).find(row => row !== undefined)
    if (known || this.#periodic.isClosed) return known
    return this.#options.history.find(ids[0] ?? '')
  }

  /** Ends a call with what its row states. Returns false while the row does not state the cost. */
  async #apply(entry: LedgerEntry, row: HistoryRow): Promise<boolean> {
    const { ledger, records, calendar, now, observer } = this.#options
    const cost = costOf(row)
    const current = await ledger.entry(entry.day, entry.callId)
    if (cost === undefined || !current || (current.state !== 'unknown' && !isEstimatedWithId(current))) return false
    if (current.state === 'unknown') await this.#rescue(current, row, cost)
    const at = now()
    const sequence = await this.#end(current, row, { cost, at })
    if (sequence === undefined) return false
    await recordCorrection(records, { entry: current, cost, at, sequence, month: calendar.windows(at).month })
    if (current.state === 'unknown') observer.unknownSettled(current.team, current.settled?.cost ?? 0)
    observer.callLearned(current, cost)
    return true
  }

  /**
   * Returns the sequence of the ledger afterwards; undefined if another process ended the call
   * first. The ledger keeps charged calls, so one that was charged by estimate and cost nothing
   * gets the cost 0.
   */
  async #end(
    entry: LedgerEntry,
    { requestId }: HistoryRow,
    { cost, at }: { cost: Nanocredits; at: number },
  ): Promise<number | undefined> {
    const { ledger, observer } = this.#options
    const { state, settled, ...call } = entry
    if (state === 'unknown' && cost === 0) {
      return (await ledger.release(call)) ? (await ledger.totals()).sequence : undefined
    }
    const end = {
      outcome: 'charged',
      cost,
      costSource: 'history',
      settledAt: at,
      upstreamRequestId: requestId,
    } as const
    const { sequence } = await ledger.settle(call, end)
    const ended = await ledger.entry(call.day, call.callId)
    if (ended?.settled?.costSource !== 'history' || ended.settled.settledAt !== at) return undefined
    const more = state === 'unknown' ? cost : cost - (settled?.cost ?? 0)
    // Counters cannot fall.
    if (more > 0) observer.callBooked(call.team, 'charged', more)
    return sequence
  }

  /**
   * Only a picture that is certainly the call's own may enter the cache: a wrong one would stay
   * there.
   */
  async #rescue(entry: LedgerEntry, row: HistoryRow, cost: Nanocredits): Promise<void> {
    const { rescue, observer } = this.#options
    const { requestId, pictureUrl: url } = row
    const isOwn = idsOf(entry).includes(requestId) || isQuestionOf(row, entry)
    if (url === undefined || cost === 0 || entry.purchase === 'no-store' || !isOwn) return
    await rescue({ entry, requestId, cost, url }).catch(error => observer.pictureNotFetched(entry, error))
  }
}

const ageOf = ({ settled }: LedgerEntry, now: number): number => now - (settled?.settledAt ?? now)

function isEstimatedWithId(entry: LedgerEntry): boolean {
  return entry.state === 'charged' && entry.settled?.costSource === 'estimate' && idsOf(entry).length > 0
}

function mergeForeign(known: readonly ForeignSpend[], found: readonly ForeignSpend[]): ForeignSpend[] {
  const all = new Map([...known, ...found].map(spend => [spend.requestId, spend]))
  return [...all.values()].sort((one, other) => other.at - one.at).slice(0, MAX_FOREIGN)
}
