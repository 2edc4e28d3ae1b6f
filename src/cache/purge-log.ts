import type { StoreObserver } from '../contracts/observer.js'
import { type RecordStore, StoreError } from '../contracts/store.js'
import type { CacheKey } from '../contracts/types.js'

export interface PurgeLogOptions {
  records: RecordStore
  /** Interval of the polls, milliseconds. Default two seconds. */
  pollMs?: number
  forget(key: CacheKey): void
  forgetAll(): void
  observer: StoreObserver
}

/** The log as stored. The member names are part of the stored format. */
interface StoredLog {
  /** Number of all purges so far. */
  count: number
  /** The last purges, newest last: a result's name, or `*` for all results. */
  latest: string[]
}

const RECORD_KEY = 'cache:purges'
const MAX_LATEST = 200
const POLL_MS = 2_000
const MAX_ATTEMPTS = 20
const ALL = '*'

/**
 * The last purges in one shared record. Each process polls it every two seconds and drops the
 * purged results from its memory.
 */
export class PurgeLog {
  readonly #options: PurgeLogOptions
  #seenCount: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: PurgeLogOptions) {
    this.#options = options
  }

  /**
   * Polls now and then at every interval. Without the first poll, a purge within the first interval
   * would count as one from before the start, and its result would stay in memory.
   */
  start(): void {
    const { pollMs = POLL_MS, observer } = this.#options
    const poll = () => this.poll().catch(error => observer.storeFailed(error, 'purges: look'))
    void poll()
    this.#timer = setInterval(() => void poll(), pollMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Appends the purge of results, or of all (`*`). Rejects with `StoreError`. */
  async append(...keys: (CacheKey | typeof ALL)[]): Promise<void> {
    const { records } = this.#options
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { log, version } = await this.#read()
      const next: StoredLog = { count: log.count + keys.length, latest: [...log.latest, ...keys].slice(-MAX_LATEST) }
      if (await records.put(RECORD_KEY, JSON.stringify(next), version)) return
    }
    throw new StoreError(`too many purges at once: the purge log changed during each of ${MAX_ATTEMPTS} attempts`)
  }

  /**
   * Drops the results purged since the last poll, or all results if the log no longer holds every
   * purge since then. Rejects with `StoreError`.
   */
  async poll(): Promise<void> {
    const { count, latest } = (await this.#read()).log
    const added = count - (this.#seenCount ?? count)
    this.#seenCount = count
    // A smaller count means that the store was emptied and the log started again, so every entry
    // may be new.
    const isRestarted = added < 0
    const purged = isRestarted ? latest : added > latest.length ? [ALL] : latest.slice(latest.length - added)
    if (purged.includes(ALL)) this.#options.forgetAll()
    else for (const key of purged) this.#options.forget(key)
  }

  async #read(): Promise<{ log: StoredLog; version: string }> {
    const record = await this.#options.records.get(RECORD_KEY)
    return {
      log: record ? (JSON.parse(record.value) as StoredLog) : { count: 0, latest: [] },
      version: record?.version ?? '',
    }
  }
}
