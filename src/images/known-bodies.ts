import type { BlobStore } from '../storage.js'

export interface KnownBodiesOptions {
  store: BlobStore
  ttlSeconds: number
  onStoreFailure(error: unknown, doing: 'recall' | 'remember'): void
}

/** Remembers which question a body held, by a name made of its digest: the next time its sender need not send it. Fails open. */
export class KnownBodies {
  readonly #options: KnownBodiesOptions

  constructor(options: KnownBodiesOptions) {
    this.#options = options
  }

  async recall(name: string): Promise<string | undefined> {
    try {
      return (await this.#options.store.get(`body:${name}`))?.meta
    } catch (error) {
      this.#options.onStoreFailure(error, 'recall')
      return undefined
    }
  }

  /** Nobody waits for it. */
  remember(name: string, question: string): void {
    const { store, ttlSeconds, onStoreFailure } = this.#options
    store
      .put(`body:${name}`, { meta: question, body: Buffer.alloc(0) }, ttlSeconds)
      .catch(error => onStoreFailure(error, 'remember'))
  }
}
