import { setTimeout as sleep } from 'node:timers/promises'
import type { SharedKeyState } from '../contracts/account.js'
import type { Clock } from '../contracts/clock.js'
import type { RetryReason } from '../contracts/observer.js'
import type { BreakerState } from '../contracts/overview.js'
import type { UpstreamAttempt } from '../segment/upstream-port.js'
import type { SharedKey } from './shared-key.js'

/** Receives the events of the client. No method may throw. */
export interface SegmindObserver {
  /** A segmentation request ended. Polls and balance requests do not count. */
  upstreamAttempted?(attempt: UpstreamAttempt): void
  /** A segmentation request is about to be sent again. */
  upstreamRetried?(reason: RetryReason): void
  breakerChanged?(state: BreakerState): void
  sharedKeyChanged?(state: SharedKeyState): void
}

export type SegmindApi = 'v1' | 'v2'

export interface SegmindClientOptions {
  /** `SEGMIND_BASE_URL`. Its path, if any, is put before Segmind's paths. */
  baseUrl: string
  apiKey: string
  /**
   * `SEGMIND_API`: `v1` waits for the response of one request, `v2` submits a job and polls it.
   * Default `v1`.
   */
  api?: SegmindApi
  /** `RETRY_SERVER_ERRORS`. Default true. */
  retryServerErrors?: boolean
  /**
   * Fetches the output of a job from a host other than that of `baseUrl`. Does not receive the key.
   */
  fetchOutput?: (url: string) => Promise<Buffer>
  /**
   * Limit for a whole call: waiting for a connection, all attempts with their pauses, and the
   * response body. In v2 the limit applies to the submission, and then once more to the job.
   */
  timeoutMs: number
  connectTimeoutMs?: number
  /** Maximum concurrent calls. Further calls wait in the client for a connection. */
  maxConcurrency: number
  /** Maximum sends of a call of which no byte was sent, including the first. */
  maxAttempts?: number
  /** Largest response body that is accepted. */
  maxAnswerBytes?: number
  observer?: SegmindObserver
  now?: Clock
  random?: () => number
  /** Resolves early when the signal is aborted. Never rejects. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Same as `wait`, for the pauses between probes of the breaker. */
  waitToProbe?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Creates a signal that is aborted after `timeoutMs`. */
  deadline?: (timeoutMs: number) => AbortSignal
}

export const DEFAULTS = {
  api: 'v1' as SegmindApi,
  retryServerErrors: true,
  fetchOutput: (_url: string): Promise<Buffer> =>
    Promise.reject(new Error('the client fetches no pictures from other hosts')),
  connectTimeoutMs: 10_000,
  maxAttempts: 3,
  maxAnswerBytes: 64 * 1024 * 1024,
  now: Date.now,
  random: Math.random,
  wait: (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {}),
  waitToProbe: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
  deadline: AbortSignal.timeout,
}

/** The options with defaults applied. */
export type SegmindClientSettings = typeof DEFAULTS & SegmindClientOptions & { sharedKey: SharedKey }
