import type { StoreObserver } from '../contracts/observer.js'
import type { BlobStore } from '../contracts/store.js'

export interface KnownBodyStoreOptions {
  store: BlobStore
  ttlSeconds: number
  observer: StoreObserver
}

/**
 * Remembers the request in a body, by a name derived from the body's digest. A client that
 * repeats the request then need not send the body. Fails open.
 */
export class KnownBodyStore {
  readonly #options: KnownBodyStoreOptions

  constructor(options: KnownBodyStoreOptions) {
    this.#options = options
  }

  async recall(name: string): Promise<string | undefined> {
    try {
      return (await this.#options.store.get(`body:${name}`))?.meta
    } catch (error) {
      this.#options.observer.storeFailed(error, 'bodies: recall')
      return undefined
    }
  }

  /** Stores a request in the background. */
  remember(name: string, request: string): void {
    const { store, ttlSeconds, observer } = this.#options
    store
      .put(`body:${name}`, { meta: request, body: Buffer.alloc(0) }, ttlSeconds)
      .catch(error => observer.storeFailed(error, 'bodies: remember'))
  }
}
