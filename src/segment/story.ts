import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { CacheDirectives, CacheKey, Digest, Params } from './types.js'

/** What the cache was asked, and what it had. */
export interface StoryLook {
  /** `first`; `again`: just before buying; `landed`: after another process had bought. */
  when: 'first' | 'again' | 'landed'
  found: 'wanted' | 'unwanted' | 'nothing'
  /** When that was bought, milliseconds since 1970. */
  boughtAt?: number
  /** False when the store could not be asked. */
  isSure: boolean
}

/** One attempt at Segmind: milliseconds from the first one's start, and what came of it (`ok` or an error code). */
export interface StoryAttempt {
  afterMs: number
  durationMs: number
  code: string
  status?: number
}

/** What took time: times by `performance.now()`; `error` is the code of what it failed with. */
export interface StoryStep {
  name: StepName
  startedAt: number
  endedAt: number
  error?: string
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

/** Who bought: another request of this process, or another process. */
export interface StoryLeader {
  team: string
  callId?: string
  /** When that call was planned, milliseconds since 1970. */
  at?: number
  requestId?: string
  isElsewhere: boolean
}

/** What becomes known about one request on its way, for whoever asks later why it was answered so. Noting is cheap: nothing is written or copied. */
export class Story {
  question:
    | { resultId: CacheKey; digest: Digest; params: Params; scope: string; cache: CacheDirectives; isOnce: boolean }
    | undefined
  readonly looks: StoryLook[] = []
  flight: { role: 'leader' | 'follower' | 'alone'; seat?: string; leader?: StoryLeader } | undefined
  /** The call that this request made: what became of it is in the ledger. */
  call: { callId: string; at: number; purchase: string } | undefined
  readonly attempts: StoryAttempt[] = []
  readonly steps: StoryStep[] = []
  queueMs: number | undefined
  balanceBefore: Nanocredits | undefined
  balanceAfter: Nanocredits | undefined
  #work: Promise<unknown> | undefined
  #firstAttemptAt: number | undefined

  looked(
    when: StoryLook['when'],
    { result, isSure }: { result?: { storedAt: number }; isSure: boolean },
    isWanted: boolean,
  ): void {
    const found = result ? (isWanted ? 'wanted' : 'unwanted') : 'nothing'
    this.looks.push({ when, found, isSure, ...(result && { boughtAt: result.storedAt }) })
  }

  /** The purchase that this request began, while it goes on: it does when the caller has left. */
  get work(): Promise<unknown> | undefined {
    return this.#work
  }

  /** Takes down the purchase that this request has begun. */
  began(work: Promise<unknown>): void {
    this.#work = work
    const end = () => {
      this.#work = undefined
    }
    work.then(end, end)
  }

  /** Takes down a step that is over now. */
  took(name: StepName, startedAt: number, error?: unknown): void {
    const code = error === undefined ? undefined : error instanceof GatewayError ? error.code : 'internal_error'
    this.steps.push({ name, startedAt, endedAt: performance.now(), ...(code !== undefined && { error: code }) })
  }

  attempted({ code, status, durationMs }: { code: string; status?: number; durationMs: number }): void {
    const startedAt = performance.now() - durationMs
    this.#firstAttemptAt ??= startedAt
    const afterMs = Math.max(0, startedAt - this.#firstAttemptAt)
    this.attempts.push({ afterMs, durationMs, code, ...(status !== undefined && { status }) })
  }
}

/** Waits for a step, and takes down how long it took where somebody wants to know. */
export async function timed<T>(story: Story | undefined, name: StepName, step: Promise<T>): Promise<T> {
  if (!story) return step
  const startedAt = performance.now()
  try {
    const outcome = await step
    story.took(name, startedAt)
    return outcome
  } catch (error) {
    story.took(name, startedAt, error)
    throw error
  }
}
