import { randomUUID } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { RecordStore, SharedRecord } from '../contracts/store.js'
import { CLAIM_STALE_MS, type Incident, nextStep, readIncident, SEEN_EVERY_MS, UNSEEN_MS } from './incident.js'

export interface IncidentsOptions {
  records: RecordStore
  now: Clock
  /**
   * Time after a message during which the same condition is not sent again, even if it had cleared
   * in between.
   */
  coolDownMs: number
  /** A step that the store failed is repeated at the next check. */
  observer: StoreObserver
}

/** The exclusive right to send an incident. */
export interface Claim {
  messageId: string
  openedAt: number
  /**
   * Aborted once another process has taken the claim over because this one did not renew it in
   * time.
   */
  lost: AbortSignal
  /**
   * `released`: another process may send it at once. Never rejects; `renew` repeats a failed write.
   */
  end(how: ClaimEnd): Promise<void>
}

type ClaimEnd = 'sent' | 'failed' | 'released'

interface Held {
  lost: AbortController
  /** The end, until it is written. */
  end?: ClaimEnd
}

/** Longer than any budget window. Renewed while the condition holds. */
const KEEP_SECONDS = 45 * 86_400
const TRIES = 5

/**
 * Ensures that all replicas together send an incident once: one record per incident, changed by
 * compare-and-set. No method rejects.
 */
export class Incidents {
  readonly #options: IncidentsOptions
  readonly #self = randomUUID()
  readonly #held = new Map<string, Held>()

  constructor(options: IncidentsOptions) {
    this.#options = options
  }

  /**
   * Reports that a condition holds. Returns a claim if this process is to send it, `sent` if it was
   * sent, else undefined.
   */
  open(key: string): Promise<Claim | 'sent' | undefined> {
    return this.#attempt(async () => {
      if (this.#held.has(key)) return undefined
      const { record, found } = await this.#read(key)
      const { now, coolDownMs } = this.#options
      const step = nextStep(found, { now: now(), coolDownMs, self: this.#self })
      if (step !== 'nothing') return this.#claim(key, record, step === 'same' ? found : undefined)
      await this.#seen(key, record, found)
      return found?.status === 'sent' ? 'sent' : undefined
    })
  }

  /** Reports that a condition does not hold. */
  async clear(key: string): Promise<void> {
    await this.#attempt(async () => {
      if (this.#held.has(key)) return
      const { record, found } = await this.#read(key)
      const now = this.#options.now()
      if (!record || !found || found.clearedAt !== undefined || now - found.seenAt <= UNSEEN_MS) return
      if (found.status !== 'claimed') await this.#put(key, { ...found, clearedAt: now }, record)
      else if (now - found.claimedAt > CLAIM_STALE_MS) await this.#options.records.delete(nameOf(key), record.version)
    })
  }

  /** Reports that a condition holds and counts as sent with another one. */
  async cover(key: string): Promise<void> {
    await this.#attempt(async () => {
      if (this.#held.has(key)) return
      const { record, found } = await this.#read(key)
      const now = this.#options.now()
      const isBeingSent = found?.status === 'claimed' && now - found.claimedAt <= CLAIM_STALE_MS
      if (isBeingSent) return
      if (found?.status === 'sent' && found.clearedAt === undefined) await this.#seen(key, record, found)
      else await this.#put(key, { ...this.#fresh(now), status: 'sent', endedAt: now }, record)
    })
  }

  /** Renews the claims of this process, and writes ends that the store did not accept before. */
  async renew(): Promise<void> {
    await Promise.all([...this.#held].map(([key, held]) => this.#attempt(() => this.#renew(key, held))))
  }

  async #renew(key: string, held: Held): Promise<void> {
    // The delivery may end during this write, so the end that was written counts.
    let written: ClaimEnd | undefined
    const isOurs = await this.#rewrite(key, incident => {
      written = held.end
      return ended(incident, written, this.#options.now())
    })
    if (!isOurs && held.end === undefined) held.lost.abort()
    if (!isOurs || written !== undefined) this.#held.delete(key)
  }

  async #claim(key: string, record: SharedRecord | undefined, same: Incident | undefined): Promise<Claim | undefined> {
    const fresh = this.#fresh(this.#options.now())
    const claimed = same ? { ...fresh, messageId: same.messageId, openedAt: same.openedAt } : fresh
    // Several replicas may read the same record, or none. The first write wins, and the others are
    // refused.
    if (!(await this.#put(key, claimed, record)) || this.#held.has(key)) return undefined
    const held: Held = { lost: new AbortController() }
    this.#held.set(key, held)
    const end = async (how: ClaimEnd) => {
      if (this.#held.get(key) !== held) return
      held.end = how
      await this.#attempt(() => this.#renew(key, held))
    }
    return { messageId: claimed.messageId, openedAt: claimed.openedAt, lost: held.lost.signal, end }
  }

  /** Changes an incident that this process holds. Returns false if it no longer holds it. */
  async #rewrite(key: string, change: (incident: Incident) => Incident): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries++) {
      const { record, found } = await this.#read(key)
      if (found?.status !== 'claimed' || found.holder !== this.#self) return false
      if (await this.#put(key, change(found), record)) return true
      // This process renewed and ended it at the same moment, so it is read again.
    }
    throw new Error(`too many concurrent changes of the incident ${key}`)
  }

  async #seen(key: string, record: SharedRecord | undefined, found: Incident | undefined): Promise<void> {
    const now = this.#options.now()
    if (!found || found.status === 'claimed' || found.clearedAt !== undefined) return
    if (now - found.seenAt >= SEEN_EVERY_MS) await this.#put(key, { ...found, seenAt: now }, record)
  }

  #fresh(now: number): Incident {
    const messageId = `msg_${randomUUID().replaceAll('-', '')}`
    return { messageId, openedAt: now, status: 'claimed', holder: this.#self, claimedAt: now, seenAt: now }
  }

  async #read(key: string): Promise<{ record: SharedRecord | undefined; found: Incident | undefined }> {
    const record = await this.#options.records.get(nameOf(key))
    return { record, found: record && readIncident(record.value) }
  }

  #put(key: string, incident: Incident, record: SharedRecord | undefined): Promise<boolean> {
    return this.#options.records.put(nameOf(key), JSON.stringify(incident), record?.version ?? '', KEEP_SECONDS)
  }

  async #attempt<T>(step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step()
    } catch (error) {
      this.#options.observer.storeFailed(error, 'alerts: incidents')
      return undefined
    }
  }
}

const nameOf = (key: string) => `alerts:incident:${key}`

function ended(incident: Incident, end: ClaimEnd | undefined, now: number): Incident {
  if (end === undefined) return { ...incident, claimedAt: now, seenAt: now }
  if (end === 'released') return { ...incident, claimedAt: 0 }
  return { ...incident, status: end, endedAt: now, seenAt: now }
}
