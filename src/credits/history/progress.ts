import type { ForeignSpend, HistoryState } from '../../contracts/request-history.js'
import type { RecordStore } from '../../contracts/store.js'

/** State of the request history that all replicas share. Times are milliseconds since 1970. */
export interface Progress {
  state: HistoryState
  since: number
  lastError?: { at: number; text: string }
  /** No replica reads the history before this time: one is reading it, or it failed. */
  nextAt: number
  /** Failures in a row: of the network, and refusals by the history. */
  failures: number
  refusals: number
  /** When the older open calls were looked up last. */
  slowAt: number
  /** `estimatedCalls` of the ledger after the last reading. Another value means that there is news. */
  estimated: number
  /** Calls are open whose rows may land soon. */
  hasYoung: boolean
  /** Older open calls remain. */
  hasOld: boolean
  /** Time up to which foreign spending was listed. */
  listedUntil?: number
  /** The newest first; at most `MAX_FOREIGN`. */
  foreign: ForeignSpend[]
}

export const MAX_FOREIGN = 100
const RECORD = 'request-history'

export async function readProgress(
  records: Pick<RecordStore, 'get'>,
): Promise<{ progress: Progress | undefined; version: string }> {
  const found = await records.get(RECORD)
  return { progress: found && (JSON.parse(found.value) as Progress), version: found?.version ?? '' }
}

/** Returns false if another replica has written since `version`. */
export function writeProgress(
  records: Pick<RecordStore, 'put'>,
  progress: Progress,
  version: string,
): Promise<boolean> {
  return records.put(RECORD, JSON.stringify(progress), version)
}

export function firstProgress(now: number): Progress {
  return {
    state: 'probing',
    since: now,
    nextAt: 0,
    failures: 0,
    refusals: 0,
    slowAt: 0,
    estimated: -1,
    hasYoung: false,
    hasOld: false,
    foreign: [],
  }
}

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const MAX_REFUSALS = 5

/** Returns the state after a successful reading. */
export function afterSuccess(progress: Progress, now: number): Progress {
  const { lastError: _over, ...rest } = progress
  const since = progress.state === 'on' ? progress.since : now
  return { ...rest, state: 'on', since, failures: 0, refusals: 0, nextAt: now }
}

/**
 * Returns the state after a failure. `isRefusal`: the history answered, but not with rows. The fifth
 * refusal in a row switches the history off for a day.
 */
export function afterFailure(
  progress: Progress,
  { isRefusal, text, now }: { isRefusal: boolean; text: string; now: number },
): Progress {
  const lastError = { at: now, text }
  if (!isRefusal) {
    const failures = progress.failures + 1
    return { ...progress, lastError, failures, nextAt: now + Math.min(HOUR_MS, MINUTE_MS * 2 ** (failures - 1)) }
  }
  const refusals = Math.min(MAX_REFUSALS, progress.refusals + 1)
  const state = refusals === MAX_REFUSALS ? 'off' : 'probing'
  const since = state === progress.state ? progress.since : now
  const nextAt = now + (state === 'off' ? DAY_MS : MINUTE_MS * 2 ** (refusals - 1))
  return { ...progress, state, since, lastError, refusals, nextAt }
}
