import { setTimeout as sleep } from 'node:timers/promises'
import type { ErrorCode } from '../errors.js'
import type { BreakerState } from './breaker.js'
import type { Again } from './retry.js'

/** What came of one request to Segmind, for the metrics; a call that is retried has several. */
export interface UpstreamAttempt {
  code: 'ok' | ErrorCode
  /** Absent when no status arrived. */
  status?: number
  durationMs: number
}

export interface SegmindClientOptions {
  /** `SEGMIND_BASE_URL`; its path, if any, goes before Segmind's own. */
  baseUrl: string
  apiKey: string
  /** `SEGMIND_API`: `v1` waits for the answer of one request, `v2` submits a job and polls it. Default `v1`. */
  api?: 'v1' | 'v2'
  /** `RETRY_SERVER_ERRORS`. Default true. */
  retryServerErrors?: boolean
  /** Fetches a picture of a job that lies elsewhere than at `baseUrl`; it is not given the key. */
  fetchOutput?: (url: string) => Promise<Buffer>
  /**
   * For a whole call: waiting for a connection, every attempt, the pauses between them, the answer's body. In v2 for submitting, and once
   * more for the job.
   */
  timeoutMs: number
  connectTimeoutMs?: number
  /** Most calls on the wire at once; more wait inside for a connection. */
  maxConcurrency: number
  /** Most times one call is sent of which nothing went out, the first included. */
  maxAttempts?: number
  /** Largest answer that is taken. */
  maxAnswerBytes?: number
  /** Told of every request that asks for a picture; not of polls and questions for the balance. */
  onAttempt?: (attempt: UpstreamAttempt) => void
  /** Told of every request for a picture that goes out once more, and why. */
  onAgain?: (why: Again['why']) => void
  onBreaker?: (state: BreakerState) => void
  /** Milliseconds since 1970. */
  now?: () => number
  random?: () => number
  /** Ends early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  /** The same for the pauses between probes of the breaker. */
  waitToProbe?: (ms: number, signal: AbortSignal) => Promise<void>
  /** A signal that is aborted when the time is over. */
  deadline?: (timeoutMs: number) => AbortSignal
}

export const DEFAULTS = {
  api: 'v1' as 'v1' | 'v2',
  retryServerErrors: true,
  fetchOutput: (_url: string): Promise<Buffer> =>
    Promise.reject(new Error('pictures that lie elsewhere are not fetched')),
  connectTimeoutMs: 10_000,
  maxAttempts: 3,
  maxAnswerBytes: 64 * 1024 * 1024,
  now: Date.now,
  random: Math.random,
  wait: (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {}),
  waitToProbe: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
  deadline: (timeoutMs: number): AbortSignal => AbortSignal.timeout(timeoutMs),
}

/** The options with everything filled in. */
export type Settings = typeof DEFAULTS & SegmindClientOptions
