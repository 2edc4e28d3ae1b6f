import type { Nanocredits } from './nanocredits.js'
import type { Digest, Params } from './types.js'

/** One request in Segmind's request history. Members are absent where Segmind states nothing. */
export interface HistoryRow {
  requestId: string
  model: string
  status: 'completed' | 'failed' | 'pending'
  /** Absent until Segmind knows it. */
  cost?: Nanocredits
  /** Time of the request by Segmind's clock, milliseconds since 1970. */
  at?: number
  /** Name or id of the user whose key was used. */
  user?: string
  /** Public URL of the picture. */
  pictureUrl?: string
  /** Image and parameters of the request, if the row contains the image. Never logged or stored. */
  question?: { image: Digest; params: Params }
}

/** Spending of the account that belongs to no call of this gateway. */
export interface ForeignSpend {
  requestId: string
  at: number
  model: string
  user?: string
  cost: Nanocredits
}

/**
 * `on`: the history answers · `probing`: it has not answered yet, or refused lately · `off`: it refused
 * repeatedly, or `SEGMIND_HISTORY` is `off`.
 */
export type HistoryState = 'on' | 'off' | 'probing'

/** State of the request history as operators see it. Times are milliseconds since 1970. */
export interface HistoryStatus {
  state: HistoryState
  since?: number
  lastError?: { at: number; text: string }
  /** The newest first. */
  foreign: readonly ForeignSpend[]
}
