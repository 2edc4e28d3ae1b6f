import type { LedgerEntry, UsageDay } from '../../src/contracts/store.js'
import type { Fault, Plan, TeamId } from './schedule.js'

/**
 * Everything observed from outside in one run. Times are milliseconds since 1970 by the harness's
 * clock.
 */
export interface History {
  seed: number
  api: Plan['api']
  /** `SEGMIND_TIMEOUT_MS` and `CLIENT_TIMEOUT_MS` of the gateways. */
  timeoutMs: number
  clientTimeoutMs: number
  /** Daily budgets in 10⁻⁹ credit. */
  budgets: Partial<Record<TeamId, number>>
  calls: UpstreamCall[]
  requests: ClientRequest[]
  /** Responses to `only-if-cached` at the end, for each input and gateway. */
  finals: FinalAnswer[]
  instances: GatewayInstance[]
  faults: FaultEvent[]
  /** The ledger at the end, of the last Redis. */
  ledger: LedgerEntry[]
  usage: UsageDay[]
  /** The ledgers of the discarded Redis servers at the time of their end. */
  discardedLedgers: LedgerEntry[][]
  /** Ledger and usage after two replicas have read Segmind's request history. */
  learned: { ledger: LedgerEntry[]; usage: UsageDay[] }
  /** Difference of each gateway's clock from the harness's, milliseconds. */
  clockOffsetsMs: readonly number[]
  /** The history had the row of every call. */
  hasAllRows: boolean
  /** Kinds of the events of the account. */
  events: string[]
  /** State of the ledger by each gateway at the end, from `/readyz`. */
  ledgerStates: string[]
  /** Failures of the harness itself. */
  harnessErrors: string[]
}

/** One gateway process from start to end. A gateway that restarts has several. */
export interface GatewayInstance {
  id: string
  gateway: number
  startedAt: number
  /** Time from which it accepts requests. */
  listeningAt?: number
  ended?: { at: number; how: 'killed' | 'stopped'; code: number | null }
  /** Time at which SIGTERM was sent. */
  stoppingAt?: number
  /**
   * Times of its log lines about an unreachable store. On a busy machine they occur without a fault
   * too.
   */
  storeLostAt?: number[]
  /** It logged that it stopped before its paid calls ended. */
  stoppedEarly?: boolean
}

/** A fault with its actual times. */
export interface FaultEvent {
  kind: Fault['kind'] | 'client-aborted'
  /** Time just before the fault begins; `to` is just after it ends. */
  from: number
  to: number
  instance?: string
}

/** One POST that the upstream received. */
export interface UpstreamCall {
  index: number
  /** `x-request-id` and job id. Unique per call. */
  requestId: string
  instance: string
  /** Absent if the body was not read. */
  input?: number
  kind: string
  at: number
  /** Time of the response or of the lost connection. Absent before that. */
  endedAt?: number
  /** Cost of a 200 or of its job, in 10⁻⁹ credit. */
  cost: number
  /** `maybe`: the gateway got no response that says so. */
  billed: 'yes' | 'maybe' | 'no'
  /** The account has paid for it, whatever the gateway got. */
  isPaid: boolean
  /** The response stated a wrong cost or balance; `statedCost` is the wrong cost. */
  hasWrongFigures?: boolean
  statedCost?: number
  status?: number
  /** Complete transfers of its picture: to which gateway process, and when. */
  deliveries: { instance: string; at: number }[]
  /** The job was accepted, and the complete response was sent. */
  jobAccepted: boolean
}

export interface ClientRequest {
  id: string
  input: number
  team: TeamId
  instance: string
  at: number
  endedAt: number
  outcome: ClientOutcome
}

export type ClientOutcome =
  | { kind: 'answered'; cache: string; cost: string; picture: Picture }
  | { kind: 'problem'; status: number; contentType: string; code: string | undefined }
  | { kind: 'aborted' }
  | { kind: 'broken'; message: string }

/** The call that a picture belongs to, byte by byte. Empty if it belongs to none. */
export interface Picture {
  requestId?: string
  input?: number
}

export interface FinalAnswer {
  at: number
  input: number
  gateway: number
  status: number
  cache: string
  picture?: Picture
}
