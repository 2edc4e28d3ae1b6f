import { setTimeout as sleep } from 'node:timers/promises'
import type { RecordStore } from '../storage.js'
import { type Attempt, describeAttempt } from './attempt.js'
import type { AlertFacts, AlertType, Condition, OverCondition } from './facts.js'
import { type Claim, Incidents } from './incidents.js'
import { conditionsOf } from './rules.js'
import type { Webhook } from './webhook.js'

export type * from './facts.js'

/** What is said about one alert in the log: which, and how it went. */
export interface AlertNote {
  type: AlertType
  /** The condition's key, under a name that the log does not take for a secret. */
  incident: string
  messageId: string
  text: string
  attempts: number
  /** How the last attempt went: `answered 503 Service Unavailable`. */
  answer: string
}

export interface AlertsOptions {
  facts: AlertFacts
  records: RecordStore
  /** Absent without `ALERT_WEBHOOK_URL`: then nothing is done. */
  webhook: Webhook | undefined
  /** `BUDGET_TIMEZONE`. */
  timeZone: string
  /** Milliseconds since 1970. */
  now?: () => number
  /** Between two looks; far less than the two minutes after which a claim is free. */
  everyMs?: number
  /** How long what was told is not told again, though it was over in between. */
  coolDownMs?: number
  /** Ends early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  onDelivered?(note: AlertNote): void
  onRetry?(note: AlertNote, pauseMs: number): void
  /** Nobody has taken it; it is tried again after the cool-down, as long as it holds. */
  onFailed?(note: AlertNote): void
  /** What could not be found out or written down; the next look tries again. */
  onProblem?(error: unknown, doing: 'facts' | 'incidents'): void
}

export interface Alerts {
  /** Looks now, since something has just happened; ends when a look has that began after this. Never rejects. */
  look(): Promise<void>
  /** What holds now, told or not. */
  conditions(): Promise<Condition[]>
  /** Looks no more and leaves to other replicas what is not told. */
  close(): Promise<void>
}

const DEFAULTS = {
  now: Date.now,
  everyMs: 15_000,
  coolDownMs: 3_600_000,
  wait: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
}

/** Looks at the facts now and then, and tells what is new to the webhook: once, whichever replicas see it. */
export function openAlerts(options: AlertsOptions): Alerts {
  const { webhook } = options
  const conditions = async () => {
    const found = await gather(options, (options.now ?? Date.now)())
    return found.filter((condition): condition is Condition => !condition.isOver)
  }
  if (!webhook) return { look: async () => {}, close: async () => {}, conditions }
  const { records, now, everyMs, coolDownMs, wait, onProblem } = { ...DEFAULTS, ...options }
  const onStoreFailure = (error: unknown) => onProblem?.(error, 'incidents')
  const incidents = new Incidents({ records, now, coolDownMs, onStoreFailure })
  const closing = new AbortController()
  const telling = new Set<Promise<void>>()

  const handle = async (condition: Condition | OverCondition): Promise<void> => {
    if (condition.isOver) return incidents.over(condition.key)
    const opened = await incidents.open(condition.key)
    if (opened === 'told') await cover(condition, incidents)
    if (opened === undefined || opened === 'told') return
    const told = tell(condition, opened, { webhook, incidents, options })
    telling.add(told)
    void told.finally(() => telling.delete(told))
  }
  const look = coalesced(async () => {
    if (closing.signal.aborted) return
    try {
      await incidents.keep()
      await Promise.all((await gather(options, now())).map(handle))
    } catch (error) {
      onProblem?.(error, 'facts')
    }
  })
  const lookAgain = async (): Promise<void> => {
    while (!closing.signal.aborted) {
      await look()
      await wait(everyMs, closing.signal)
    }
  }
  void lookAgain()

  return {
    look,
    conditions,
    async close() {
      closing.abort()
      await Promise.all([look(), webhook.close()])
      await Promise.all(telling)
    },
  }
}

async function gather({ facts, timeZone, onProblem }: AlertsOptions, now: number) {
  const found = async <T>(asked: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await asked()
    } catch (error) {
      onProblem?.(error, 'facts')
      return undefined
    }
  }
  const [budgets, credits] = await Promise.all([found(() => facts.budgets()), found(() => facts.credits())])
  return conditionsOf({ now, timeZone, budgets, credits, sharedKey: facts.sharedKey() })
}

/** What was told tells the lesser conditions, too. Seen to at every look: who told it may have died before. */
async function cover({ covers = [] }: Condition, incidents: Incidents): Promise<void> {
  await Promise.all(covers.map(key => incidents.cover(key)))
}

/** Delivers one message. Never rejects. */
async function tell(
  condition: Condition,
  claim: Claim,
  { webhook, incidents, options }: { webhook: Webhook; incidents: Incidents; options: AlertsOptions },
): Promise<void> {
  const { type, key, data, text } = condition
  const { messageId, openedAt, lost } = claim
  const noteOf = (attempts: number, last: Attempt | undefined): AlertNote => {
    return { type, incident: key, messageId, text, attempts, answer: last ? describeAttempt(last) : 'not sent' }
  }
  let retries = 0
  const { outcome, attempts, last } = await webhook.deliver(
    { id: messageId, type, at: openedAt, data, text },
    { signal: lost, onRetry: (attempt, pauseMs) => options.onRetry?.(noteOf(++retries, attempt), pauseMs) },
  )
  if (outcome === 'stopped') return claim.end('released')
  await claim.end(outcome === 'delivered' ? 'sent' : 'failed')
  if (outcome === 'delivered') await cover(condition, incidents)
  const note = noteOf(attempts, last)
  if (outcome === 'delivered') options.onDelivered?.(note)
  else options.onFailed?.(note)
}

/** Runs one at a time: who asks while it runs gets the next run, together with all others who ask. */
function coalesced(run: () => Promise<void>): () => Promise<void> {
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
