import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CacheDirectives, CacheKey, Digest, Params } from '../contracts/types.js'
import type { UpstreamAttempt } from './upstream-port.js'

/** One cache lookup and its outcome. */
export interface StoryLook {
  /**
   * `first`; `again`: just before a purchase; `landed`: after another process ended its purchase.
   */
  when: 'first' | 'again' | 'landed'
  found: 'wanted' | 'unwanted' | 'nothing'
  /** When the result was bought, milliseconds since 1970. */
  boughtAt?: number | undefined
  /** False when the store could not be read. */
  isSure: boolean
}

/**
 * One attempt at Segmind. `afterMs` counts from the start of the first; `code` is `ok` or an error
 * code.
 */
export interface StoryAttempt extends UpstreamAttempt {
  afterMs: number
}

/** One timed step. Times by `performance.now()`; `error` is the code it failed with. */
export interface StoryStep {
  name: StepName
  startedAt: number
  endedAt: number
  error?: string | undefined
}

export type StepName =
  | 'receive'
  | 'look'
  | 'check image'
  | 'reserve'
  | 'queue'
  | 'call'
  | 'book and keep'
  | 'follow'
  | 'shape'

/** The leader of a flight: another request of this process, or another process. */
export interface StoryLeader {
  team: string
  callId?: string
  /** When its call was planned, milliseconds since 1970. */
  at?: number
  requestId?: string
  isElsewhere: boolean
}

/**
 * Records how one request was handled, so that it can be explained later. Recording is cheap:
 * nothing is written or copied.
 */
export class Story {
  question:
    | {
        resultId: CacheKey
        digest: Digest
        params: Params
        scope: string
        cache: CacheDirectives
        isIdempotent: boolean
      }
    | undefined
  readonly looks: StoryLook[] = []
  flight: { role: 'leader' | 'follower' | 'alone'; seat?: string; leader?: StoryLeader } | undefined
  /** The call this request made. The ledger has its outcome. */
  call: { callId: string; at: number; purchase: string } | undefined
  readonly attempts: StoryAttempt[] = []
  readonly steps: StoryStep[] = []
  queueMs: number | undefined
  balanceBefore: Nanocredits | undefined
  balanceAfter: Nanocredits | undefined
  /** The purchase this request started, while it runs. It may outlive the request. */
  work: Promise<unknown> | undefined
  #firstAttemptAt: number | undefined

  /** Records the purchase this request has started. */
  recordWork(work: Promise<unknown>): void {
    this.work = work
    const end = () => {
      this.work = undefined
    }
    work.then(end, end)
  }

  /** Records a step that ends now. */
  recordStep(name: StepName, startedAt: number, error?: unknown): void {
    const code = error === undefined ? undefined : error instanceof GatewayError ? error.code : 'internal_error'
    this.steps.push({ name, startedAt, endedAt: performance.now(), error: code })
  }

  recordAttempt({ code, status, durationMs }: UpstreamAttempt): void {
    const startedAt = performance.now() - durationMs
    this.#firstAttemptAt ??= startedAt
    const afterMs = Math.max(0, startedAt - this.#firstAttemptAt)
    this.attempts.push({ afterMs, durationMs, code, ...defined({ status }) })
  }
}

/** Awaits a step, and records its duration in the story, if there is one. */
export async function timed<T>(story: Story | undefined, name: StepName, step: Promise<T>): Promise<T> {
  if (!story) return step
  const startedAt = performance.now()
  try {
    const outcome = await step
    story.recordStep(name, startedAt)
    return outcome
  } catch (error) {
    story.recordStep(name, startedAt, error)
    throw error
  }
}
