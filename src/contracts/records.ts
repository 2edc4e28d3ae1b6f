import type { Nanocredits } from './nanocredits.js'

/** Trace of a request (W3C Trace Context): ids in lower-case hex. */
export interface TraceContext {
  traceId: string
  /** The caller's span, where it sent one. */
  parentId?: string
  isSampled?: boolean
}

/** A finished request, or a finished selection of a batch. Durations in milliseconds. */
export interface FinishedRequest {
  requestId: string
  /** The gateway chose the request id for this request; the client sent none. */
  isNewId?: boolean
  method: string
  /** By `performance.now()`. */
  startedAt: number
  trace?: TraceContext | undefined
  /** The route's pattern; `none` where no route matched. */
  route: string
  /** Empty where no team was authenticated. */
  team: string
  keyId?: string | undefined
  status: number
  /** The error code, absent on success. */
  error?: string | undefined
  /** Empty where no result was returned. */
  cache: string
  charged?: Nanocredits | undefined
  durationMs: number
  uploadMs?: number | undefined
  cacheMs?: number | undefined
  upstreamMs: number
  uploadBytes: number
  /** Sent with a test key, so its error may be simulated. */
  isTest?: boolean | undefined
  /** Index of the selection in its batch; absent for a whole request. */
  selection?: number
}

/** A request that ended with an error, as operators see it. */
export interface FailedRequest {
  /** Milliseconds since 1970. */
  at: number
  requestId: string
  route: string
  /** Empty where no team was authenticated. */
  team: string
  status: number
  /** The error code. */
  code: string
}

/** One change an operator made. Holds no key and no image. */
export interface AuditEntry {
  id: string
  /** Milliseconds since 1970. */
  at: number
  by: AuditActor
  /** The operator's name, as the operator gave it. */
  name?: string
  /** The address the request came from. */
  address?: string
  requestId?: string
  /** `key.created`, `result.purged`, … */
  action: string
  /** The changed object: the id of a key, team, result or month. */
  subject: string
  details?: Record<string, unknown>
}

/** `operator`: over HTTP with the operators' key. `cli`: a command on the gateway's machine. */
export type AuditActor = 'operator' | 'cli'

/** An entry before the audit log assigns its id and time. */
export type NewAuditEntry = Omit<AuditEntry, 'id' | 'at'>

/** The change that an audit entry records. */
export type AuditedChange = Pick<AuditEntry, 'action' | 'subject' | 'details'>

/** An entry with its position in the audit log: from 1, without gaps. */
export type NumberedAuditEntry = AuditEntry & { seq: number }

/** A request of `POST /v2/sam-v2-image`, which is answered by polling. */
export interface SubmittedJob {
  id: string
  team: string
  isTest: boolean
  /** Id under which the result will be stored. */
  resultId: string
  /** Milliseconds since 1970. */
  submittedAt: number
  /** Sent with `no-cache`: a result that was stored earlier does not answer it. */
  mustBuy: boolean
  end?: JobEnd
}

/** A job before it has an id. */
export type NewSubmittedJob = Pick<SubmittedJob, 'team' | 'isTest' | 'resultId' | 'mustBuy'>

/** End of a submitted job. `at` in milliseconds since 1970. */
export type JobEnd =
  /** `cost` in nanocredits; durations in milliseconds. */
  | { kind: 'completed'; at: number; cost: number; queueMs: number; upstreamMs: number }
  /** The wait timed out. The purchase continues and its result is found by `resultId`. */
  | { kind: 'unattended'; at: number }
  | { kind: 'failed'; at: number; code: string; message: string; retryable: boolean; billed: string }
