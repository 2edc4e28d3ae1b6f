import { CircuitState, circuitBreaker, handleWhenResult, type IBreaker } from 'cockatiel'
import { type ErrorCode, GatewayError } from '../errors.js'
import type { UpstreamOutcome } from '../segment/ports.js'
import type { Judged } from './verdict.js'

/** `closed`: calls go out. `open`: they do not. `probing`: Segmind is being asked, for free, whether it is back. */
export type BreakerState = 'closed' | 'open' | 'probing'

export interface BreakerOptions {
  /** A free question to Segmind. */
  probe(): Promise<Judged>
  /** Ends early, without failing, when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void>
  now(): number
  random(): number
  onChange?: ((state: BreakerState) => void) | undefined
}

export interface Breaker {
  readonly state: BreakerState
  /** Throws `upstream_unavailable` unless it is closed. */
  admit(): void
  /** Makes the call, or answers what `admit` throws. */
  run(call: () => Promise<Judged>): Promise<UpstreamOutcome>
  close(): void
}

/** Calls in a row that have to fail. */
const THRESHOLD = 5
const FIRST_PROBE_MS = 5_000
const MAX_PROBE_MS = 60_000

/** Failures of Segmind itself; what it has against one request, the key or the credits says nothing about the next one. */
const TROUBLE: ReadonlySet<ErrorCode> = new Set(['upstream_failed', 'upstream_timeout', 'upstream_unavailable'])

/**
 * Stops calling a Segmind that keeps failing: each call that times out may have been billed. While it is open the free balance
 * endpoint is asked, at growing intervals, and its first answer closes it. Calls under way end as they would.
 */
export function createBreaker(options: BreakerOptions): Breaker {
  const failures = new Failures()
  // When to ask again is decided here: nobody but the probe is let through while it is not closed. No time at all, not 0: cockatiel measures
  // with the wall clock, and with one that was set back it would not let the probe through either.
  const policy = circuitBreaker(handleWhenResult(isTrouble), {
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

  const refusal = (): GatewayError => {
    const retryAfterSeconds = Math.max(1, Math.ceil((nextProbeAt - options.now()) / 1000))
    const detail = `Segmind keeps failing and is not called now; it is asked again in about ${retryAfterSeconds} s.`
    return new GatewayError('upstream_unavailable', detail, { billed: 'no', retryAfterSeconds })
  }
  /**
   * Counts a call that has ended. The race it ends: eight calls hang · five run out of time and open it · the probe closes it · the other
   * three run out of time, and would open it again, though Segmind has been back since.
   */
  const count = async (outcome: Judged, openingsBefore: number): Promise<void> => {
    const isOld = isTrouble(outcome) && openings > openingsBefore
    if (policy.state === CircuitState.Closed && isEvidence(outcome) && !isOld) await policy.execute(() => outcome)
  }
  return {
    get state() {
      return stateOf(policy.state)
    },
    admit() {
      if (policy.state !== CircuitState.Closed) throw refusal()
    },
    async run(call) {
      if (policy.state !== CircuitState.Closed) return { kind: 'failed', error: refusal(), bill: {} }
      const openingsBefore = openings
      const outcome = await call()
      await count(outcome, openingsBefore)
      return outcome
    },
    close: () => closing.abort(),
  }
}

/**
 * Counts failures in a row. After a good probe the first failure counts for all: the balance may be told while the model is
 * down, and only a real call shows that it is not.
 */
class Failures implements IBreaker {
  state: unknown = undefined
  /** Since the last real call that went well. */
  probes = 0
  #inARow = 0
  #isSuspicious = false

  success(state: CircuitState): void {
    this.#inARow = 0
    this.#isSuspicious = state !== CircuitState.Closed
    if (!this.#isSuspicious) this.probes = 0
  }

  failure(state: CircuitState): boolean {
    this.#inARow++
    return state !== CircuitState.Closed || this.#isSuspicious || this.#inARow >= THRESHOLD
  }
}

/** A refusal is none: only a picture shows that the model works, only trouble that it does not. */
function isEvidence(outcome: Judged): boolean {
  return outcome.kind === 'answered' || isTrouble(outcome)
}

function isTrouble(outcome: unknown): boolean {
  const judged = outcome as Judged
  return judged.kind === 'failed' && judged.isRefusal !== true && TROUBLE.has(judged.error.code)
}

function stateOf(state: CircuitState): BreakerState {
  if (state === CircuitState.Closed) return 'closed'
  return state === CircuitState.HalfOpen ? 'probing' : 'open'
}

function pauseBefore(probe: number, random: number): number {
  return Math.min(FIRST_PROBE_MS * 2 ** Math.min(probe, 10), MAX_PROBE_MS) * (0.75 + random / 4)
}
