import type { CacheKey } from '../segment/types.js'
import type { RecordStore } from '../storage.js'

export interface PurgesOptions {
  records: RecordStore
  /** Between two looks at what others have purged, milliseconds. Default two seconds. */
  everyMs?: number
  forget(key: CacheKey): void
  forgetAll(): void
  onStoreFailure(error: unknown): void
}

interface Notices {
  /** How many there ever were. */
  count: number
  /** The latest, the newest last: a result's name, or `*` for all. */
  latest: string[]
}

const NAME = 'cache:purges'
const KEPT = 200
const EVERY_MS = 2_000
const TRIES = 20
const ALL = '*'

/** Tells all processes which results are purged, so that none answers them out of its memory: one record with the latest, at which each looks every two seconds. */
export class Purges {
  readonly #options: PurgesOptions
  #seen: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: PurgesOptions) {
    this.#options = options
  }

  /** Begins to look. */
  start(): void {
    const { everyMs = EVERY_MS, onStoreFailure } = this.#options
    this.#timer = setInterval(() => void this.look().catch(onStoreFailure), everyMs).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Tells that a result, or `*`, is purged. Rejects with `StoreError`. */
  async tell(key: CacheKey | typeof ALL): Promise<void> {
    const { records } = this.#options
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const { notices, version } = await this.#read()
      const next: Notices = { count: notices.count + 1, latest: [...notices.latest, key].slice(-KEPT) }
      if (await records.put(NAME, JSON.stringify(next), version)) return
    }
    throw new Error('too many purges at once')
  }

  /** Drops what others have purged since the last look; all there is where that is too long ago to know. Rejects with `StoreError`. */
  async look(): Promise<void> {
    const { notices } = await this.#read()
    const seen = this.#seen ?? notices.count
    this.#seen = notices.count
    const news = notices.count - seen
    const { latest } = notices
    // A store that was emptied begins anew: what it tells since may all be news.
    const isEmptied = news < 0
    const purged = isEmptied ? latest : news > latest.length ? [ALL] : latest.slice(latest.length - news)
    if (purged.includes(ALL)) this.#options.forgetAll()
    else for (const key of purged) this.#options.forget(key)
  }

  async #read(): Promise<{ notices: Notices; version: string }> {
    const record = await this.#options.records.get(NAME)
    return {
      notices: record ? (JSON.parse(record.value) as Notices) : { count: 0, latest: [] },
      version: record?.version ?? '',
    }
  }
}
