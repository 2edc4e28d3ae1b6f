import { statfsSync } from 'node:fs'
import type { Database } from 'lmdb'
import type { Clock } from '../../contracts/clock.js'
import type { Store } from '../../contracts/store.js'
import { createBlobs, type EmbeddedBlobsOptions, purgeExpired } from './blobs.js'
import { type Environment, prepareFolder } from './environment.js'
import { createLeases } from './leases.js'
import { createLedger } from './ledger.js'
import { openBlobFile, openLedgerFile } from './open-files.js'
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
  /** Returns whether the cache may take more of the disk. Default: see `hasRoomForCache`. */
  hasRoom?: () => boolean
  /** Called for failures of background work. */
  onProblem?: EmbeddedBlobsOptions['onProblem']
}

/**
 * Opens the store of one machine, shared by its processes. `ledger.mdb` holds the ledger, records
 * and leases. `blobs.mdb` holds what may be evicted, and may be deleted while no gateway runs.
 * Throws a plain `Error` that names the folder if the folder cannot be used.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<Store> {
  const { dir, maxBytes, now = Date.now, touchAfterMs = 300_000, purgeEveryMs = 60_000 } = options
  const onProblem = options.onProblem ?? (() => undefined)
  prepareFolder(dir)
  const { environment: ledgerFile, parts } = await openLedgerFile(dir, environment => openParts(environment, now))
  const { ledger, leases, records, schedule, probes } = parts
  const { environment: blobFile, parts: index } = await openBlobFile(dir, maxBytes, { now, onProblem })
  const hasRoom = options.hasRoom ?? (() => hasRoomForCache(dir))
  const blobs: EmbeddedBlobsOptions = { environment: blobFile, index, maxBytes, hasRoom, touchAfterMs, now, onProblem }
  const purge = () =>
    Promise.all([purgeExpired(blobs), leases.purge(), ledger.purge(), records.purge()]).catch(error =>
      onProblem(error, 'purge'),
    )
  const timer = setInterval(purge, purgeEveryMs)
  timer.unref()
  const stopProbe = await startProbe(ledgerFile, probes, { now, onProblem })

  return {
    results: createBlobs(blobs, 'result'),
    images: createBlobs(blobs, 'image'),
    requests: createBlobs(blobs, 'request'),
    ledger,
    records,
    leases,
    schedule,
    isUp: () => ledgerFile.isUp() && ledgerFile.canWrite() && blobFile.isUp(),
    mayEvict: () => false,
    size: async () => blobFile.read(() => index.size()),
    async close() {
      clearInterval(timer)
      stopProbe()
      await Promise.all([ledgerFile.close(), blobFile.close()])
    },
  }
}

/** Opens everything in `ledger.mdb`, and reads the totals, so that damage is found at the start. */
async function openParts(environment: Environment, now: Clock) {
  const leases = createLeases(environment, now)
  const ledger = createLedger(environment, now)
  const records = createRecords(environment, now)
  const schedule = createSchedule(environment, now)
  const probes = environment.root.openDB<number, string>('probe', {})
  await ledger.totals()
  return { leases, ledger, records, schedule, probes }
}

/** Room that the cache leaves on the disk, for the ledger: that of about 80,000 calls. */
const ROOM_BYTES = 64 * 2 ** 20
/** A small disk keeps this share instead. */
const ROOM_SHARE = 1 / 8

/**
 * Tells whether the cache may grow: whether the disk has more than the room kept for the ledger.
 * The cache is what fills the disk, so this alone keeps room, and costs one system call for each
 * stored result. A reserve file would cost as much disk, and would help only once.
 */
function hasRoomForCache(dir: string): boolean {
  const { bavail, blocks, bsize } = statfsSync(dir)
  return bavail * bsize > Math.min(ROOM_BYTES, blocks * bsize * ROOM_SHARE)
}

type Background = Pick<EmbeddedBlobsOptions, 'now' | 'onProblem'>

const PROBE_MS = 10_000

/**
 * Writes and reads a record now and every ten seconds, so that a full or read-only disk is noticed
 * while no calls are booked. Returns a function that ends it.
 */
async function startProbe(
  environment: Environment,
  probes: Database<number, string>,
  { now, onProblem }: Background,
): Promise<() => void> {
  const probe = async (): Promise<void> => {
    const couldWrite = environment.canWrite()
    try {
      await environment.write(() => {
        probes.put('probe', now())
        return probes.get('probe')
      })
    } catch (error) {
      if (couldWrite) onProblem(error, 'probe')
    }
  }
  await probe()
  const timer = setInterval(() => void probe(), PROBE_MS).unref()
  return () => clearInterval(timer)
}
