import type { LedgerEntry, UsageDay } from '../../src/storage.js'
import type { Fault, Plan, TeamId } from './schedule.js'

/** All that was seen from outside of one run. Times are milliseconds since 1970, all by the clock of the harness's machine. */
export interface History {
  seed: number
  api: Plan['api']
  /** `SEGMIND_TIMEOUT_MS` and `CLIENT_TIMEOUT_MS` of the gateways. */
  timeoutMs: number
  patienceMs: number
  /** Daily budgets in 10⁻⁹ credit. */
  budgets: Partial<Record<TeamId, number>>
  calls: UpstreamCall[]
  requests: ClientRequest[]
  /** Asked with `only-if-cached` when everything was over: each question of each gateway. */
  finals: FinalAnswer[]
  lives: GatewayLife[]
  faults: FaultEvent[]
  /** The ledger when everything was over: of the Redis that was there then. */
  ledger: LedgerEntry[]
  usage: UsageDay[]
  /** The ledgers of the instances that were thrown away, as they stood then. */
  thrownAway: LedgerEntry[][]
  /** What the harness itself could not do. */
  troubles: string[]
}

/** One process of a gateway, from its start to its end. */
export interface GatewayLife {
  id: string
  gateway: number
  startedAt: number
  /** It takes requests. */
  listeningAt?: number
  ended?: { at: number; how: 'killed' | 'stopped'; code: number | null }
  /** When SIGTERM was sent. */
  stoppingAt?: number
  /** When it said that the store does not answer: on a busy machine it may also do that without a fault. */
  storeLostAt?: number[]
  /** It said that it gave up waiting for what was paid for. */
  gaveUp?: boolean
}

/** A fault as it came about. */
export interface FaultEvent {
  kind: Fault['kind'] | 'client-aborted'
  /** From the last moment before it to the first one after it. */
  from: number
  to: number
  life?: string
}

/** One POST that arrived at Segmind. */
export interface UpstreamCall {
  index: number
  /** `x-request-id`, and the id of the job: of this call alone. */
  requestId: string
  life: string
  /** Absent where the body was not read. */
  question?: number
  kind: string
  at: number
  /** Answered, or the connection is gone; absent while neither. */
  endedAt?: number
  /** Of a 200, or of the job that came of it. */
  cost: number
  /** `maybe`: no answer tells. */
  billed: 'yes' | 'maybe' | 'no'
  status?: number
  /** When the last byte of its picture went out, and to which gateway. */
  deliveries: { life: string; at: number }[]
  /** The job was taken, and the answer that says so went out whole. */
  jobTaken: boolean
}

export interface ClientRequest {
  id: string
  question: number
  team: TeamId
  life: string
  at: number
  endedAt: number
  outcome: ClientOutcome
}

export type ClientOutcome =
  | { kind: 'answered'; cache: string; cost: string; picture: Picture }
  | { kind: 'problem'; status: number; contentType: string; code: string | undefined }
  | { kind: 'aborted' }
  | { kind: 'broken'; message: string }

/** Which call's picture it is, byte by byte; absent when it is none of them. */
export interface Picture {
  requestId?: string
  question?: number
}

export interface FinalAnswer {
  at: number
  question: number
  gateway: number
  status: number
  cache: string
  picture?: Picture
}
