import { type AcquireOutcome, type LeaseSight, type LeaseStore, StoreError } from '../../src/storage.js'

/** A `LeaseStore` in plain memory, for tests of those who use one; what the real ones promise is tested in `test/store`. */
export class MemoryLeases implements LeaseStore {
  readonly names = new Map<string, LeaseSight>()
  readonly pollMs = 5
  isDown = false
  /** Set: `acquire` answers that. */
  settlingMs: number | undefined
  readonly #watchers = new Set<{ name: string; onLanded(): void }>()

  async acquire(claim: { name: string; token: string; note: string }, from?: LeaseSight): Promise<AcquireOutcome> {
    this.#up()
    const before = this.names.get(claim.name)
    if (before?.token === claim.token && before.parting === undefined) return { kind: 'taken' }
    if (this.settlingMs !== undefined) return { kind: 'settling', waitMs: this.settlingMs }
    const isFree = !before || before.parting !== undefined
    const isAsSeen = before?.token === from?.token && before?.beat === from?.beat
    if (!isFree && !isAsSeen) return { kind: 'held', sight: { ...before } }
    this.names.set(claim.name, { token: claim.token, beat: 0, note: claim.note })
    return { kind: 'taken', ...(before && { before }) }
  }

  async beat(claims: readonly { name: string; token: string; note: string }[]): Promise<boolean[]> {
    this.#up()
    return claims.map(({ name, token, note }) => {
      const held = this.names.get(name)
      if (held && held.token !== token && held.parting === undefined) return false
      this.names.set(name, { token, note, beat: (held?.beat ?? 0) + 1 })
      return true
    })
  }

  async land({ name, token }: { name: string; token: string }, parting: string): Promise<void> {
    this.#up()
    const held = this.names.get(name)
    if (held?.token !== token) return
    this.names.set(name, { ...held, parting })
    for (const watcher of this.#watchers) if (watcher.name === name) watcher.onLanded()
  }

  async look(name: string): Promise<LeaseSight | undefined> {
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
