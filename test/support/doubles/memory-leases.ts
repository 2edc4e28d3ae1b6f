import { type AcquireOutcome, type LeaseSnapshot, type LeaseStore, StoreError } from '../../../src/contracts/store.js'

/** An in-memory `LeaseStore` for tests of its users. `test/store` tests the real stores. */
export class MemoryLeases implements LeaseStore {
  readonly names = new Map<string, LeaseSnapshot>()
  readonly pollMs = 5
  isDown = false
  /** If set, `acquire` returns it. */
  recoveryMs: number | undefined
  readonly #watchers = new Set<{ name: string; onLanded(): void }>()

  async acquire(claim: { name: string; token: string; note: string }, from?: LeaseSnapshot): Promise<AcquireOutcome> {
    this.#up()
    const before = this.names.get(claim.name)
    if (before?.token === claim.token && before.outcome === undefined) return { kind: 'taken' }
    if (this.recoveryMs !== undefined) return { kind: 'recovering', waitMs: this.recoveryMs }
    const isFree = !before || before.outcome !== undefined
    const isAsSeen = before?.token === from?.token && before?.heartbeat === from?.heartbeat
    if (!isFree && !isAsSeen) return { kind: 'held', snapshot: { ...before } }
    this.names.set(claim.name, { token: claim.token, heartbeat: 0, note: claim.note })
    return { kind: 'taken', ...(before && { previous: before }) }
  }

  async renew(claims: readonly { name: string; token: string; note: string }[]): Promise<boolean[]> {
    this.#up()
    return claims.map(({ name, token, note }) => {
      const held = this.names.get(name)
      if (held && held.token !== token && held.outcome === undefined) return false
      this.names.set(name, { token, note, heartbeat: (held?.heartbeat ?? 0) + 1 })
      return true
    })
  }

  async release({ name, token }: { name: string; token: string }, outcome: string): Promise<void> {
    this.#up()
    const held = this.names.get(name)
    if (held?.token !== token) return
    this.names.set(name, { ...held, outcome })
    for (const watcher of this.#watchers) if (watcher.name === name) watcher.onLanded()
  }

  async read(name: string): Promise<LeaseSnapshot | undefined> {
    this.#up()
    return this.names.get(name)
  }

  watch(name: string, onLanded: () => void): () => void {
    const watcher = { name, onLanded }
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  get watchers(): number {
    return this.#watchers.size
  }

  #up(): void {
    if (this.isDown) throw new StoreError('down', { mayHaveHappened: false })
  }
}
