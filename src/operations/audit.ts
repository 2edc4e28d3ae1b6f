import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../storage.js'

/** What somebody did to the gateway: who, what and when (milliseconds since 1970). Never a key's text, never an image. */
export interface AuditEntry {
  id: string
  at: number
  /** The operators' key, or whoever runs commands on the machine. */
  by: 'operator' | 'cli'
  /** Who they say they are. */
  name?: string
  /** Where the request came from. */
  address?: string
  requestId?: string
  /** `key.created`, `result.purged`. */
  action: string
  /** What it was done to: a key's id, a team, a result, a month. */
  subject: string
  details?: Record<string, unknown>
}

export interface AuditLogOptions {
  records: RecordStore
  now(): number
  /** How long an entry waits that the store did not take, milliseconds. Default one second. */
  retryMs?: number
  /** Told of an entry that the store did not take yet. */
  onStoreFailure(error: unknown): void
}

/** An entry at its place: from 1, without gaps. */
export type NumberedEntry = AuditEntry & { seq: number }

const HEAD = 'audit:head'
const RETRY_MS = 1_000

/**
 * What was done to the gateway, in the order in which it was written: one record each, that nothing replaces, numbered without gaps over all
 * processes. What the store does not take waits in memory.
 */
export class AuditLog {
  readonly #options: AuditLogOptions
  #waiting: AuditEntry[] = []
  #writing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** The place after the last one known. */
  #next: number | undefined

  constructor(options: AuditLogOptions) {
    this.#options = options
  }

  /** Entries that the store does not have yet. */
  get unsaved(): readonly AuditEntry[] {
    return this.#waiting
  }

  /** Takes down what was done; resolves once it is written, or has to wait. Never rejects. */
  add(done: Omit<AuditEntry, 'id' | 'at'>): Promise<AuditEntry> {
    const entry: AuditEntry = { id: randomUUID(), at: this.#options.now(), ...done }
    this.#waiting.push(entry)
    return this.flush().then(() => entry)
  }

  /** Up to `limit` entries before place `before`, the newest first. Rejects with `StoreError`. */
  async read({ before, limit }: { before?: number | undefined; limit: number }): Promise<NumberedEntry[]> {
    const end = Math.min(before ?? Number.POSITIVE_INFINITY, await this.#findNext())
    const places = Array.from({ length: Math.max(0, Math.min(limit, end - 1)) }, (_, index) => end - 1 - index)
    const records = await Promise.all(places.map(seq => this.#options.records.get(nameOf(seq))))
    return records.flatMap((record, index) =>
      record ? [{ ...(JSON.parse(record.value) as AuditEntry), seq: places[index] ?? 0 }] : [],
    )
  }

  /** Writes what waits, in its order, one after the other. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    if (this.#waiting.length === 0) return Promise.resolve()
    this.#writing ??= this.#writeAll()
    return this.#writing
  }

  /** Tries once more; what is left then is only in the log. */
  async close(): Promise<void> {
    await this.flush()
    clearTimeout(this.#timer)
  }

  async #writeAll(): Promise<void> {
    try {
      for (let entry = this.#waiting[0]; entry; entry = this.#waiting[0]) {
        await this.#write(entry)
        this.#waiting.shift()
      }
    } catch (error) {
      this.#options.onStoreFailure(error)
      this.#timer = setTimeout(() => void this.flush(), this.#options.retryMs ?? RETRY_MS).unref()
    }
    // In the same breath in which nothing was found waiting: what comes now begins another round.
    this.#writing = undefined
  }

  /** Takes the next free place. A try that failed may have been taken all the same: then the place holds this very entry. */
  async #write(entry: AuditEntry): Promise<void> {
    const { records } = this.#options
    const text = JSON.stringify(entry)
    let seq = await this.#findNext()
    // Before the place is known to be this entry's, it may be that of an earlier try.
    if (seq > 1 && (await records.get(nameOf(seq - 1)))?.value === text) return
    while (!(await records.put(nameOf(seq), text, ''))) {
      if ((await records.get(nameOf(seq)))?.value === text) break
      seq++
    }
    this.#next = seq + 1
    await this.#noteHead(seq)
  }

  /** From the last place that was noted to the first that is free. */
  async #findNext(): Promise<number> {
    const { records } = this.#options
    let next = this.#next ?? Number((await records.get(HEAD))?.value ?? 0) + 1
    while (await records.get(nameOf(next))) next++
    this.#next = next
    return next
  }

  /** A hint that may lag behind: entries are there before it says so. */
  async #noteHead(seq: number): Promise<void> {
    const { records } = this.#options
    const noted = await records.get(HEAD)
    if (Number(noted?.value ?? 0) < seq) await records.put(HEAD, String(seq), noted?.version ?? '')
  }
}

function nameOf(seq: number): string {
  return `audit:${seq}`
}
