import type { Store } from '../../storage.js'
import { openBlobIndex } from './blob-index.js'
import { type BlobsOptions, createBlobs, purgeExpired } from './blobs.js'
import { openEnvironment, prepareFolder } from './environment.js'
import { createLeases } from './leases.js'
import { createLedger } from './ledger.js'
import { createRecords } from './records.js'

export interface EmbeddedStoreOptions {
  /** Made (for this user only) when it is not there. Must be on a local disk. */
  dir: string
  /** Bound of results and images together; the ledger is not counted and never evicted. */
  maxBytes: number
  /** Milliseconds since 1970. */
  now?(): number
  /** How long a read leaves the noted time of last use alone, so that reads are no writes. Default five minutes. */
  touchAfterMs?: number
  /** How often expired blobs are taken out in the background. Default one minute. */
  purgeEveryMs?: number
  /** Told of failures in the background, which no caller sees. */
  onProblem?(error: unknown, what: 'touch' | 'purge'): void
}

const GIBIBYTE = 2 ** 30
/** Address space for the ledger: at some 500 bytes a call, room for tens of millions. */
const LEDGER_MAP_BYTES = 16 * GIBIBYTE

/**
 * Opens the store of one machine, which several processes share: `ledger.mdb` for money, `blobs.mdb` for what may be evicted and may
 * be deleted at any time while no gateway runs. Throws a plain `Error` that names the folder when it cannot be used.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<Store> {
  const { dir, maxBytes, now = Date.now, touchAfterMs = 300_000, purgeEveryMs = 60_000 } = options
  const onProblem = options.onProblem ?? (() => undefined)
  prepareFolder(dir)
  const money = openEnvironment(dir, 'ledger', LEDGER_MAP_BYTES)
  const environment = openEnvironment(dir, 'blobs', maxBytes * 4 + GIBIBYTE)
  const index = openBlobIndex(environment)
  const blobs: BlobsOptions = { environment, index, maxBytes, touchAfterMs, now, onProblem }
  const leases = createLeases(money, now)
  const ledger = createLedger(money, now)
  const records = createRecords(money, now)
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
    isUp: () => money.isUp() && environment.isUp(),
    size: async () => environment.read(() => index.held()),
    async close() {
      clearInterval(timer)
      await Promise.all([money.close(), environment.close()])
    },
  }
}
