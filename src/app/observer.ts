import type { FastifyBaseLogger } from 'fastify'
import type { AlertNote, AlertObserver } from '../alerts/alerts.js'
import type { FlightObserver } from '../cache/shared-flights.js'
import type { ResultObserver } from '../cache/unsaved-results.js'
import type { ImplausibleFigure } from '../contracts/account.js'
import type { Clock } from '../contracts/clock.js'
import type { LedgerEntry, LedgerLoss, LedgerState, LedgerStep, SettledCall } from '../contracts/ledger.js'
import { formatCredits, type Nanocredits, toCredits } from '../contracts/nanocredits.js'
import type { ResultLossReason, RetryReason, SharedFlightRole } from '../contracts/observer.js'
import type { FinishedRequest } from '../contracts/records.js'
import type { HistoryStatus } from '../contracts/request-history.js'
import type { CacheKey, Frame, Result, Size } from '../contracts/types.js'
import type { HistoryObserver } from '../credits/history/ports.js'
import type { CreditsObserver } from '../credits/observer.js'
import type { Mismatch } from '../credits/wholeness/verify.js'
import type { WholenessObserver } from '../credits/wholeness/wholeness.js'
import type { RequestObserver } from '../http/server/request-facts.js'
import type { Activity } from '../operations/activity.js'
import type { Story } from '../segment/story.js'
import type { UpstreamAttempt } from '../segment/upstream-port.js'
import type { SegmindObserver } from '../segmind/client.js'
import type { Metrics } from '../telemetry/metrics.js'
import type { GatewayEvents } from './events.js'

export interface ObserverOptions {
  log: FastifyBaseLogger
  metrics: Metrics
  activity: Activity
  events: GatewayEvents
  now: Clock
}

/** A failing store logs each operation at most once in this time. */
const REPEAT_LOG_MS = 60_000

/**
 * Turns each event of the gateway into metrics, activity, log lines and events for other parts. One
 * method per event.
 */
export class GatewayObserver
  implements
    AlertObserver,
    CreditsObserver,
    FlightObserver,
    HistoryObserver,
    RequestObserver,
    ResultObserver,
    SegmindObserver,
    WholenessObserver
{
  readonly #options: ObserverOptions
  /** By operation: when it was logged last (`performance.now()`), and its failures since. */
  readonly #storeFailures = new Map<string, { loggedAt: number; count: number }>()

  constructor(options: ObserverOptions) {
    this.#options = options
  }

  requestFinished(request: FinishedRequest, story?: Story): void {
    const { metrics, activity, events } = this.#options
    const { route, team, status, cache, error, isTest, durationMs, upstreamMs, uploadBytes } = request
    metrics.counters.requests.inc({ route, team, code: String(status) })
    if (uploadBytes > 0 && team) metrics.counters.uploadBytes.inc({ team }, uploadBytes)
    metrics.histograms.duration.observe({ route, cache }, durationMs / 1000)
    if (cache) metrics.histograms.overhead.observe(Math.max(0, durationMs - upstreamMs) / 1000)
    activity.requestFinished(request)
    if (error && !isTest) this.#requestFailed(request, error)
    events.emit('requestFinished', request, story)
  }

  /** A selection counts as part of its batch's request; only its error is counted separately. */
  selectionFinished(selection: FinishedRequest, story?: Story): void {
    const { error, isTest } = selection
    if (error && !isTest) this.#requestFailed(selection, error)
    this.#options.events.emit('requestFinished', selection, story)
  }

  /** `cost` is the price of the purchase. Every other answer with its result saves it. */
  resultAnswered(team: string, how: string, cost: Nanocredits): void {
    const { results, saved } = this.#options.metrics.counters
    results.inc({ team, cache: how })
    if (how === 'hit' || how === 'stale') saved.inc({ team, how: 'cache' }, toCredits(cost))
    if (how === 'coalesced') saved.inc({ team, how: 'coalesced' }, toCredits(cost))
    this.#options.activity.resultAnswered(how, cost)
  }

  callBooked(team: string, outcome: SettledCall['outcome'], cost: Nanocredits): void {
    const { spent, unknown } = this.#options.metrics.counters
    const counter = outcome === 'charged' ? spent : unknown
    counter.inc({ team }, toCredits(cost))
    this.#options.activity.callBooked(team, outcome, cost)
  }

  unknownSettled(team: string, booked: Nanocredits): void {
    this.#options.metrics.counters.unknownSettled.inc({ team }, toCredits(booked))
  }

  slotGranted(waitedMs: number): void {
    this.#options.metrics.histograms.queueWait.observe(waitedMs / 1000)
  }

  flightJoined(role: SharedFlightRole): void {
    this.#options.metrics.counters.flights.inc({ role })
  }

  leaseTakenOver(resultId: CacheKey): void {
    this.#options.log.warn({ resultId }, 'another process took over a purchase in flight here')
  }

  resultLost(resultId: CacheKey, { body }: Pick<Result, 'body'>, why: ResultLossReason): void {
    this.#options.metrics.counters.lostResults.inc({ why: why.replace(' ', '_') })
    this.#options.log.error({ resultId, bytes: body.length, why }, 'paid result not written to the store')
  }

  orientationContradicted(mask: Size, photo: Frame): void {
    this.#options.metrics.counters.contradictedOrientations.inc()
    this.#options.log.warn({ mask, photo }, 'a mask shows that IMAGE_ORIENTATION is wrong')
  }

  pictureUnfit(kind: 'overlay' | 'mask', facts: { picture?: Size | undefined; photo?: Frame | undefined }): void {
    this.#options.metrics.counters.unfitPictures.inc({ kind })
    this.#options.log.warn({ kind, ...facts }, 'a paid picture is not what was bought')
  }

  bodyDamaged(kind: 'result' | 'image', key: string): void {
    this.#options.metrics.counters.damagedBodies.inc({ kind })
    this.#options.log.error({ kind, key }, 'stored body was damaged and is removed')
  }

  upstreamAttempted({ status, code, durationMs }: UpstreamAttempt): void {
    const { metrics, events } = this.#options
    metrics.counters.upstream.inc({ code: status === 200 && code !== 'ok' ? code : String(status ?? code) })
    metrics.histograms.upstream.observe(durationMs / 1000)
    events.emit('upstreamAttempted', { code, durationMs })
  }

  upstreamRetried(why: RetryReason): void {
    this.#options.metrics.counters.retries.inc({ why: why.replace(' ', '_') })
  }

  breakerChanged(breaker: string): void {
    this.#options.log.warn({ breaker }, 'circuit breaker changed')
  }

  sharedKeyChanged(): void {
    this.#options.events.emit('accountChanged')
  }

  storeFailed(error: unknown, operation: string): void {
    this.#options.metrics.counters.storeFailures.inc({ doing: operation })
    const last = this.#storeFailures.get(operation) ?? { loggedAt: Number.NEGATIVE_INFINITY, count: 0 }
    const failures = last.count + 1
    const isDue = performance.now() - last.loggedAt >= REPEAT_LOG_MS
    this.#storeFailures.set(
      operation,
      isDue ? { loggedAt: performance.now(), count: 0 } : { loggedAt: last.loggedAt, count: failures },
    )
    if (isDue) this.#options.log.warn({ err: error, doing: operation, failures }, 'store operation failed')
  }

  storeUp(): void {
    this.#options.log.info('store is reachable')
  }

  storeDown(error: unknown): void {
    this.#options.log.error(
      { err: error },
      'store is unreachable; cached results in memory and purchases without a budget continue',
    )
  }

  storeProblem(error: unknown, what: string): void {
    this.#options.log.warn({ err: error, what }, 'store reported a problem')
  }

  teamsFileLoaded(teams: readonly unknown[]): void {
    this.#options.log.info({ teams: teams.length }, 'teams file loaded')
  }

  teamsFileRefused(problems: readonly string[]): void {
    this.#options.log.error({ problems }, 'teams file refused; the previous teams stay in force')
  }

  creditStateChanged({ name, before, since }: { name: string; before?: string; since: number }): void {
    // The first state a gateway sees is not a change, so only a bad one is a warning.
    const isWarning = before !== undefined || name !== 'normal'
    this.#options.log[isWarning ? 'warn' : 'info']({ creditState: name, before, since }, 'credit state changed')
    this.#options.events.emit('accountChanged')
  }

  accountEventRecorded({ kind, amount, id, at }: { kind: string; amount: Nanocredits; id: string; at: number }): void {
    const fields = { kind, credits: formatCredits(amount), id, at }
    if (kind !== 'implausible') this.#options.log.warn(fields, 'the change of the balance differs from what was booked')
    this.#options.events.emit('accountChanged')
  }

  figureImplausible({ figure, claimed, expected }: ImplausibleFigure): void {
    const fields = { figure, claimed: formatCredits(claimed), expected: formatCredits(expected) }
    this.#options.metrics.counters.implausible.inc({ figure })
    this.#options.log.warn(fields, 'Segmind stated an implausible figure; it was not used')
  }

  balanceRequestFailed(error: unknown): void {
    this.#options.log.warn({ err: error }, 'balance request failed')
  }

  ledgerStepLost(step: LedgerStep, error: unknown): void {
    this.#options.log.error({ step, err: error }, 'ledger step lost: the store refuses it')
  }

  ledgerStepsLeft({ kept, lost }: { kept: number; lost: number }): void {
    const { log } = this.#options
    if (kept > 0) log.warn({ steps: kept }, 'ledger steps wait on disk for the next start')
    if (lost > 0) log.error({ steps: lost }, 'ledger steps lost: the store did not accept them')
  }

  ledgerStateChanged(state: LedgerState, loss: LedgerLoss | undefined): void {
    const { log, events } = this.#options
    const fields = { ledger: state, ...loss }
    if (state === 'ok') log.info(fields, 'ledger is whole; budgets are checked again')
    if (state === 'lost')
      log.error(fields, 'ledger was lost or rolled back; budgets are closed until `segmind-gateway ledger accept`')
    if (state === 'evictable')
      log.error(fields, 'Redis may evict the ledger; budgets are closed until its maxmemory-policy is volatile-lru')
    events.emit('accountChanged')
  }

  witnessIgnored(): void {
    this.#options.log.warn('ledger-witness.json is about another store and was ignored')
  }

  ledgerMismatchFound(mismatch: Mismatch): void {
    this.#options.metrics.counters.ledgerMismatches.inc()
    this.#options.log.error(mismatch, 'sum of the ledger differs from its entries')
  }

  dayRolledUp(day: string, calls: number): void {
    this.#options.metrics.counters.rolledUpCalls.inc(calls)
    this.#options.log.info({ day, calls }, 'day of the ledger rolled up')
  }

  dayNotRolledUp(day: string): void {
    this.#options.log.error({ day }, 'day of the ledger not rolled up: its sums differ from its entries')
  }

  orphanSettled({ callId, team, requestId, resultId, jobId }: LedgerEntry, fate: string): void {
    this.#options.metrics.counters.orphans.inc({ fate })
    this.#options.log.warn({ callId, team, requestId, resultId, jobId, fate }, 'settled a call of a dead process')
  }

  historyStateChanged({ state, lastError }: Pick<HistoryStatus, 'state' | 'lastError'>): void {
    const { log } = this.#options
    if (state === 'off') log.warn({ error: lastError?.text }, "Segmind's request history refuses; not used for a day")
    else log.info({ requestHistory: state, error: lastError?.text }, "state of Segmind's request history changed")
  }

  callLearned({ callId, team, requestId, resultId, state }: LedgerEntry, cost: Nanocredits): void {
    const fields = { callId, team, requestId, resultId, before: state, cost: formatCredits(cost) }
    this.#options.log.info(fields, "learned the cost of a call from Segmind's request history")
  }

  pictureNotFetched({ callId, resultId }: LedgerEntry, error: unknown): void {
    this.#options.log.warn({ callId, resultId, err: error }, 'a lost picture could not be fetched')
  }

  alertDelivered(note: AlertNote): void {
    this.#options.log.info(note, 'alert delivered')
  }

  alertRetried(note: AlertNote, pauseMs: number): void {
    this.#options.log.warn({ ...note, pauseMs }, 'alert delivery failed; it will be retried')
  }

  alertFailed(note: AlertNote): void {
    this.#options.log.error(note, 'alert not delivered')
  }

  auditEntriesLost(entries: readonly unknown[]): void {
    if (entries.length > 0) this.#options.log.error({ entries }, 'audit entries not written to the store')
  }

  #requestFailed({ requestId, route, team, status }: FinishedRequest, code: string): void {
    const { metrics, activity, now } = this.#options
    metrics.counters.errors.inc({ route, code })
    activity.requestFailed({ at: now(), requestId, route, team, status, code })
  }
}
