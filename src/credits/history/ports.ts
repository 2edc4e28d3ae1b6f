import type { LedgerEntry } from '../../contracts/ledger.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { StoreObserver } from '../../contracts/observer.js'
import type { HistoryRow, HistoryStatus } from '../../contracts/request-history.js'
import type { CreditsObserver } from '../observer.js'

/** Segmind's own record of the account's requests. Both reads throw `upstream_*`. */
export interface RequestHistory {
  /** Lists the requests since a time, newest first. `isComplete` is false if some are missing. */
  list(since: number, until: number): Promise<{ rows: HistoryRow[]; isComplete: boolean }>
  /** Finds one request by Segmind's id. */
  find(requestId: string): Promise<HistoryRow | undefined>
}

/** A paid picture whose response was lost. */
export interface LostPicture {
  entry: LedgerEntry
  requestId: string
  cost: Nanocredits
  url: string
}

export interface HistoryObserver extends StoreObserver, Pick<CreditsObserver, 'callBooked' | 'unknownSettled'> {
  /** Called only in the replica that changed the shared state. */
  historyStateChanged(status: Pick<HistoryStatus, 'state' | 'lastError'>): void
  /** The history stated what a call had cost; 0 for a call that was not billed. */
  callLearned(entry: LedgerEntry, cost: Nanocredits): void
  /** A paid picture could not be fetched. */
  pictureNotFetched(entry: LedgerEntry, error: unknown): void
}
