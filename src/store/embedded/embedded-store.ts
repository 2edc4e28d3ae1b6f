import type { Clock } from '../../contracts/clock.js'
import type { Store } from '../../contracts/store.js'
import { openBlobIndex } from './blob-index.js'
import { createBlobs, type EmbeddedBlobsOptions, purgeExpired } from './blobs.js'
import { openEnvironment, prepareFolder } from './environment.js'
import { createLeases } from './leases.js'
import { createLedger } from './ledger.js'
import { createRecords } from './records.js'
import { createSchedule } from './schedule.js'

export interface EmbeddedStoreOptions {
  /** Folder on a local disk. Created, for this user only, if missing. */
  dir: string
  /** Bound of all blobs together. The ledger is not counted and never evicted. */
  maxBytes: number
  now?: Clock
  /**
   * Age of a blob's recorded time of use from which a read renews it, so that most reads write
   * nothing. Default 5 min.
   */
  touchAfterMs?: number
  /** Interval of the deletion of expired data. Default one minute. */
  purgeEveryMs?: number
  /** Called for failures of background work. */
  onProblem?: EmbeddedBlobsOptions['onProblem']
}

const GIBIBYTE = 2 ** 30
/** Address space of the ledger: room for tens of millions of calls at about 500 bytes each. */
const LEDGER_MAP_BYTES = 16 * GIBIBYTE

/**
 * Opens the store of one machine, shared by its processes. `ledger.mdb` holds the ledger, records
 * and leases. `blobs.mdb` holds what may be evicted, and may be deleted while no gateway runs.
 * Throws a plain `Error` that names the folder if the folder cannot be used.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<Store> {
  const { dir, maxBytes, now = Date.now, touchAfterMs = 300_000, purgeEveryMs = 60_000 } = options
  const onProblem = options.onProblem ?? (() => undefined)
  prepareFolder(dir)
  const ledgerFile = openEnvironment(dir, 'ledger', LEDGER_MAP_BYTES)
  const blobFile = openEnvironment(dir, 'blobs', maxBytes * 4 + GIBIBYTE)
  const index = openBlobIndex(blobFile)
  const blobs: EmbeddedBlobsOptions = { environment: blobFile, index, maxBytes, touchAfterMs, now, onProblem }
  const leases = createLeases(ledgerFile, now)
  const ledger = createLedger(ledgerFile, now)
  const records = createRecords(ledgerFile, now)
  const purge = () =>
    Promise.all([purgeExpired(blobs), leases.purge(), ledger.purge(), records.purge()]).catch(error =>
      onProblem(error, 'purge'),
    )
  const timer = setInterval(purge, purgeEveryMs)
  timer.unref()

  return {
    results: createBlobs(blobs, 'result'),
    images: createBlobs(blobs, 'image'),
    requests: createBlobs(blobs, 'request'),
    ledger,
    records,
    leases,
    schedule: createSchedule(ledgerFile, now),
    isUp: () => ledgerFile.isUp() && blobFile.isUp(),
    mayEvict: () => false,
    size: async () => blobFile.read(() => index.size()),
    async close() {
      clearInterval(timer)
      await Promise.all([ledgerFile.close(), blobFile.close()])
    },
  }
}
