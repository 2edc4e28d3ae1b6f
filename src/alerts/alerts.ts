import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { RecordStore } from '../contracts/store.js'
import { type Attempt, describeAttempt } from './attempt.js'
import type { AlertFacts, AlertType, ClearedCondition, Condition } from './facts.js'
import { type Claim, Incidents } from './incidents.js'
import { evaluateRules } from './rules.js'
import type { Webhook } from './webhook.js'

export type * from './facts.js'

/** Log fields of an alert and its delivery. */
export interface AlertNote {
  type: AlertType
  /** The condition's key. The log would redact a field that is named `key`. */
  incident: string
  messageId: string
  text: string
  attempts: number
  /** Outcome of the last attempt: `answered 503 Service Unavailable`. */
  answer: string
}

export interface AlertsOptions {
  facts: AlertFacts
  records: RecordStore
  /** Absent without `ALERT_WEBHOOK_URL`: nothing is sent. */
  webhook: Webhook | undefined
  /** `BUDGET_TIMEZONE`. */
  timeZone: string
  now?: Clock
  /** Interval between checks. Must be far below the two minutes after which a claim is stale. */
  everyMs?: number
  /**
   * Time after an alert during which the same condition is not sent again, even if it had cleared
   * in between.
   */
  coolDownMs?: number
  /** Resolves early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  observer: AlertObserver
}

/** Events of alerts, one method each. Methods never throw. */
export interface AlertObserver extends StoreObserver {
  alertDelivered(note: AlertNote): void
  /** A delivery failed and is tried again after `pauseMs`. */
  alertRetried(note: AlertNote, pauseMs: number): void
  /**
   * Every attempt failed. The alert is sent again after the cool-down if its condition still holds.
   */
  alertFailed(note: AlertNote): void
}

export interface Alerts {
  /**
   * Checks the conditions now. Resolves after a check that began after this call. Never rejects.
   */
  check(): Promise<void>
  /** Lists the conditions that hold now, sent or not. */
  conditions(): Promise<Condition[]>
  /** Stops checking, and leaves undelivered alerts to other replicas. */
  close(): Promise<void>
}

const DEFAULTS = {
  now: Date.now,
  everyMs: 15_000,
  coolDownMs: 3_600_000,
  wait: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
}

/** Checks the conditions regularly and sends each new one to the webhook, once for all replicas. */
export function openAlerts(options: AlertsOptions): Alerts {
  const { webhook } = options
  const conditions = async () => {
    const found = await gatherConditions(options, (options.now ?? Date.now)())
    return found.filter((condition): condition is Condition => !condition.isCleared)
  }
  if (!webhook) return { check: async () => {}, close: async () => {}, conditions }
  const { records, now, everyMs, coolDownMs, wait, observer } = { ...DEFAULTS, ...options }
  const incidents = new Incidents({ records, now, coolDownMs, observer })
  const closing = new AbortController()
  const deliveries = new Set<Promise<void>>()

  const handle = async (condition: Condition | ClearedCondition): Promise<void> => {
    if (condition.isCleared) return incidents.clear(condition.key)
    const opened = await incidents.open(condition.key)
    if (opened === 'sent') await cover(condition, incidents)
    if (opened === undefined || opened === 'sent') return
    const delivery = deliver(condition, opened, { webhook, incidents, observer })
    deliveries.add(delivery)
    void delivery.finally(() => deliveries.delete(delivery))
  }
  const check = serialized(async () => {
    if (closing.signal.aborted) return
    try {
      await incidents.renew()
      await Promise.all((await gatherConditions(options, now())).map(handle))
    } catch (error) {
      observer.storeFailed(error, 'alerts: facts')
    }
  })
  const checkRegularly = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      await check()
      await wait(everyMs, closing.signal)
    }
  }
  void checkRegularly()

  return {
    check,
    conditions,
    async close() {
      closing.abort()
      await Promise.all([check(), webhook.close()])
      await Promise.all(deliveries)
    },
  }
}

/** Evaluates the rules. Facts that cannot be read are left out. */
async function gatherConditions({ facts, timeZone, observer }: AlertsOptions, now: number) {
  const tryRead = async <T>(read: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await read()
    } catch (error) {
      observer.storeFailed(error, 'alerts: facts')
      return undefined
    }
  }
  const [budgets, credits] = await Promise.all([tryRead(() => facts.budgets()), tryRead(() => facts.credits())])
  return evaluateRules({ now, timeZone, budgets, credits, sharedKey: facts.sharedKey(), ledger: facts.ledger?.() })
}

/**
 * Marks the lesser conditions as sent too. Repeated at every check, because the sender may have
 * died before it did.
 */
async function cover({ covers = [] }: Condition, incidents: Incidents): Promise<void> {
  await Promise.all(covers.map(key => incidents.cover(key)))
}

/** Delivers one alert. Never rejects. */
async function deliver(
  condition: Condition,
  claim: Claim,
  { webhook, incidents, observer }: { webhook: Webhook; incidents: Incidents; observer: AlertObserver },
): Promise<void> {
  const { type, key, data, text } = condition
  const { messageId, openedAt, lost } = claim
  const noteOf = (attempts: number, last: Attempt | undefined): AlertNote => {
    return { type, incident: key, messageId, text, attempts, answer: last ? describeAttempt(last) : 'not sent' }
  }
  let retries = 0
  const { outcome, attempts, last } = await webhook.deliver(
    { id: messageId, type, at: openedAt, data, text },
    { signal: lost, onRetry: (attempt, pauseMs) => observer.alertRetried(noteOf(++retries, attempt), pauseMs) },
  )
  if (outcome === 'stopped') return claim.end('released')
  await claim.end(outcome === 'delivered' ? 'sent' : 'failed')
  if (outcome === 'delivered') await cover(condition, incidents)
  const note = noteOf(attempts, last)
  if (outcome === 'delivered') observer.alertDelivered(note)
  else observer.alertFailed(note)
}

/** Runs one at a time. Calls made during a run share the next run. */
function serialized(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    next = undefined
    const started = run().finally(() => {
      if (running === started) running = undefined
    })
    running = started
    return started
  }
  return () => {
    if (next) return next
    if (!running) return start()
    next = running.then(start, start)
    return next
  }
}
