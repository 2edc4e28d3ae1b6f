import { randomUUID } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { AuditEntry, NewAuditEntry, NumberedAuditEntry } from '../contracts/records.js'
import type { RecordStore } from '../contracts/store.js'
import { AUDIT_HEAD, auditKey, type ChainedEntry, digestOf } from './audit-chain.js'

export interface AuditLogOptions {
  records: RecordStore
  now: Clock
  /** Pause before a failed write is repeated, milliseconds. Default: one second. */
  retryMs?: number
  observer: StoreObserver
}

const RETRY_MS = 1_000

/**
 * Changes that operators made, in the order they were written. One record per entry, never
 * replaced, numbered without gaps over all processes, and chained (audit-chain.ts). Entries that the
 * store does not accept wait in memory.
 */
export class AuditLog {
  readonly #options: AuditLogOptions
  #waiting: AuditEntry[] = []
  #writing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** The position after the last known entry. */
  #next: number | undefined

  constructor(options: AuditLogOptions) {
    this.#options = options
  }

  /** Entries that are not in the store yet. */
  get unsaved(): readonly AuditEntry[] {
    return this.#waiting
  }

  /** Adds an entry. Resolves once it is written or has to wait. Never rejects. */
  add(change: NewAuditEntry): Promise<AuditEntry> {
    const entry: AuditEntry = { id: randomUUID(), at: this.#options.now(), ...change }
    this.#waiting.push(entry)
    return this.flush().then(() => entry)
  }

  /**
   * Reads up to `limit` entries before position `before`, the newest first. Rejects with
   * `StoreError`.
   */
  async read({ before, limit }: { before?: number | undefined; limit: number }): Promise<NumberedAuditEntry[]> {
    const end = Math.min(before ?? Number.POSITIVE_INFINITY, await this.#findNext())
    const positions = Array.from({ length: Math.max(0, Math.min(limit, end - 1)) }, (_, index) => end - 1 - index)
    const records = await Promise.all(positions.map(seq => this.#options.records.get(auditKey(seq))))
    return records.flatMap((record, index) =>
      record ? [{ ...entryOf(record.value), seq: positions[index] ?? 0 }] : [],
    )
  }

  /** Writes the waiting entries in order, one at a time. Never rejects. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    if (this.#waiting.length === 0) return Promise.resolve()
    this.#writing ??= this.#writeAll()
    return this.#writing
  }

  /** Tries once more. Entries that remain in `unsaved` are not in the store. */
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
      this.#options.observer.storeFailed(error, 'audit: write')
      this.#timer = setTimeout(() => void this.flush(), this.#options.retryMs ?? RETRY_MS).unref()
    }
    // Synchronous with the check that found nothing waiting, so a later entry starts another run.
    this.#writing = undefined
  }

  /**
   * Writes to the next free position. A write that failed may have happened: then the position
   * holds this entry already.
   */
  async #write(entry: AuditEntry): Promise<void> {
    const { records } = this.#options
    let seq = await this.#findNext()
    let before = (await this.#text(seq - 1)) ?? ''
    // An earlier attempt may have written the entry to the previous position.
    if (isOf(before, entry)) return
    for (;;) {
      const chained: ChainedEntry = { ...entry, previous: digestOf(before) }
      if (await records.put(auditKey(seq), JSON.stringify(chained), '')) break
      before = (await this.#text(seq)) ?? ''
      if (isOf(before, entry)) break
      seq++
    }
    this.#next = seq + 1
    await this.#noteHead(seq)
  }

  async #text(seq: number): Promise<string | undefined> {
    return (await this.#options.records.get(auditKey(seq)))?.value
  }

  /** Finds the first free position, from the last noted one on. */
  async #findNext(): Promise<number> {
    const { records } = this.#options
    // The store was emptied or rolled back since: the log goes on where it ends now.
    if (this.#next !== undefined && this.#next > 1 && !(await this.#text(this.#next - 1))) this.#next = undefined
    let next = this.#next ?? Number((await records.get(AUDIT_HEAD))?.value ?? 0) + 1
    while (await records.get(auditKey(next))) next++
    this.#next = next
    return next
  }

  /** Writes a hint for `#findNext`. It may lag behind the entries. */
  async #noteHead(seq: number): Promise<void> {
    const { records } = this.#options
    const noted = await records.get(AUDIT_HEAD)
    if (Number(noted?.value ?? 0) < seq) await records.put(AUDIT_HEAD, String(seq), noted?.version ?? '')
  }
}

/** Reads a stored entry, without its link to the one before. */
function entryOf(text: string): AuditEntry {
  const { previous: _link, ...entry } = JSON.parse(text) as ChainedEntry
  return entry
}

function isOf(text: string, { id }: AuditEntry): boolean {
  return text !== '' && entryOf(text).id === id
}
