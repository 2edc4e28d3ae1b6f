import { CircuitState, circuitBreaker, handleWhenResult, type IBreaker } from 'cockatiel'
import type { Clock } from '../contracts/clock.js'
import { type ErrorCode, GatewayError } from '../contracts/errors.js'
import type { BreakerState } from '../contracts/overview.js'
import type { UpstreamOutcome } from '../segment/ports.js'
import type { CallOutcome } from './classify.js'

export interface BreakerOptions {
  /** Sends a request that is free of charge. */
  probe(): Promise<CallOutcome>
  /** Resolves early when the signal is aborted. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>
  now: Clock
  random(): number
  onChange?: ((state: BreakerState) => void) | undefined
}

export interface Breaker {
  readonly state: BreakerState
  /** Throws `upstream_unavailable` unless the breaker is closed. */
  admit(): void
  /**
   * Makes the call for a question (an image with its parameters). Returns `upstream_unavailable` as
   * a failure unless the breaker is closed.
   */
  run(question: string, call: () => Promise<CallOutcome>): Promise<UpstreamOutcome>
  close(): void
}

/** Consecutive failures, each of another question, that open the breaker. */
const THRESHOLD = 5
const FIRST_PROBE_MS = 5_000
const MAX_PROBE_MS = 60_000

/**
 * Failures of Segmind itself. Errors of one request, of the key or of the credits do not predict
 * the next call.
 */
const OUTAGE_CODES: ReadonlySet<ErrorCode> = new Set(['upstream_failed', 'upstream_timeout', 'upstream_unavailable'])

/**
 * Stops calls while Segmind keeps failing, because a call that times out may have been billed.
 * While open, the breaker requests the free balance at growing intervals and closes on the first
 * response. Calls in flight are not cancelled.
 */
export function createBreaker(options: BreakerOptions): Breaker {
  const failures = new FailureCount()
  // Only the probe passes while the breaker is not closed, and `probeUntilBack` decides when it is
  // sent. So cockatiel must always let it through. Negative infinity rather than 0: cockatiel
  // compares wall-clock times, and after the clock was set back it would block the probe.
  const policy = circuitBreaker(handleWhenResult(isOutage), {
    halfOpenAfter: Number.NEGATIVE_INFINITY,
    breaker: failures,
  })
  const closing = new AbortController()
  let nextProbeAt = 0
  let isProbing = false
  let openings = 0

  const probeUntilBack = async (): Promise<void> => {
    while (policy.state !== CircuitState.Closed && !closing.signal.aborted) {
      const pauseMs = pauseBefore(failures.probes++, options.random())
      nextProbeAt = options.now() + pauseMs
      await options.wait(pauseMs, closing.signal)
      if (!closing.signal.aborted) await policy.execute(() => options.probe())
    }
    isProbing = false
  }
  policy.onStateChange(state => {
    options.onChange?.(stateOf(state))
    if (state === CircuitState.Open) openings++
    if (state !== CircuitState.Open || isProbing) return
    isProbing = true
    void probeUntilBack()
  })

  const openError = (): GatewayError => {
    const retryAfterSeconds = Math.max(1, Math.ceil((nextProbeAt - options.now()) / 1000))
    const detail = `Segmind keeps failing, so the gateway does not call it. Next check in about ${retryAfterSeconds} s.`
    return new GatewayError('upstream_unavailable', detail, { billed: 'no', retryAfterSeconds })
  }
  return {
    get state() {
      return stateOf(policy.state)
    },
    admit() {
      if (policy.state !== CircuitState.Closed) throw openError()
    },
    async run(question, call) {
      if (policy.state !== CircuitState.Closed) return { kind: 'failed', error: openError(), bill: {} }
      const openingsBefore = openings
      const outcome = await call()
      // A picture counts, and an outage. A refusal (4xx) shows neither that the model works nor that
      // it does not. An outage does not count if the breaker opened after the call began. The race
      // that prevents: eight calls hang · five time out and open the breaker · the probe closes it ·
      // the other three time out and would open it again, although Segmind is back.
      const isNews = isOutage(outcome) && openings === openingsBefore && failures.isNews(question, outcome)
      const isEvidence = outcome.kind === 'answered' || isNews
      if (isEvidence && policy.state === CircuitState.Closed) await policy.execute(() => outcome)
      return outcome
    },
    close: () => closing.abort(),
  }
}

/**
 * Counts consecutive failures of different questions. After a successful probe one failure opens the breaker again: the
 * balance endpoint may work while the model is down. Only a successful call restores the full
 * threshold.
 */
class FailureCount implements IBreaker {
  state: unknown = undefined
  /** Probes since the last successful call. */
  probes = 0
  #consecutive = 0
  #isOnTrial = false
  /** Questions that failed since the last success. */
  readonly #questions = new Set<string>()

  /**
   * Tells whether a failure adds to what is known: one question that fails again and again shows
   * nothing about the others. A request that never reached Segmind failed whatever it asked.
   */
  isNews(question: string, outcome: CallOutcome): boolean {
    if (this.#isOnTrial || (outcome.kind === 'failed' && outcome.error.code === 'upstream_unavailable')) return true
    if (this.#questions.has(question)) return false
    this.#questions.add(question)
    return true
  }

  success(state: CircuitState): void {
    this.#consecutive = 0
    this.#questions.clear()
    this.#isOnTrial = state !== CircuitState.Closed
    if (!this.#isOnTrial) this.probes = 0
  }

  failure(state: CircuitState): boolean {
    this.#consecutive++
    return state !== CircuitState.Closed || this.#isOnTrial || this.#consecutive >= THRESHOLD
  }
}

function isOutage(result: unknown): boolean {
  const outcome = result as CallOutcome
  return outcome.kind === 'failed' && outcome.isRefusal !== true && OUTAGE_CODES.has(outcome.error.code)
}

function stateOf(state: CircuitState): BreakerState {
  if (state === CircuitState.Closed) return 'closed'
  return state === CircuitState.HalfOpen ? 'probing' : 'open'
}

function pauseBefore(probe: number, random: number): number {
  return Math.min(FIRST_PROBE_MS * 2 ** Math.min(probe, 10), MAX_PROBE_MS) * (0.75 + random / 4)
}
