import { LRUCache } from 'lru-cache'
import type { Digest, ImageBytes, ImageType } from '../segment/types.js'
import type { BlobStore } from '../storage.js'

export interface HeldImagesOptions {
  store: BlobStore
  /** `IMAGE_TTL_SECONDS`; 0 keeps none. */
  ttlSeconds: number
  /** Milliseconds since 1970. */
  now(): number
  onStoreFailure(error: unknown, doing: 'find' | 'keep'): void
}

/** What is kept beside the bytes. */
interface ImageMeta {
  type: ImageType
  /** When it was kept, milliseconds since 1970. */
  at: number
}

/** How many images this process remembers to have kept lately, so that it does not write them again. */
const REMEMBERED = 10_000

/**
 * Images by their id, so that a client that has sent one may name it the next time; one that is used lives on. Where all teams share what there is,
 * it is also kept who has sent it: those may take it out again. Fails open: what cannot be kept must be sent again.
 */
export class HeldImages {
  readonly #options: HeldImagesOptions
  readonly #keptLately: LRUCache<string, true>

  constructor(options: HeldImagesOptions) {
    this.#options = options
    // Half the time to live: an image that is used again lives on before it can expire.
    this.#keptLately = new LRUCache({ max: REMEMBERED, ttl: Math.max(1, options.ttlSeconds * 500) })
  }

  async find(scope: string, digest: Digest): Promise<ImageBytes | undefined> {
    const { store, ttlSeconds, now, onStoreFailure } = this.#options
    if (ttlSeconds === 0) return undefined
    const name = nameOf(scope, digest)
    try {
      const blob = await store.get(name)
      if (!blob) {
        this.#keptLately.delete(name)
        return undefined
      }
      const { type, at = 0 } = JSON.parse(blob.meta) as ImageMeta
      const image: ImageBytes = { type, digest, chunks: [blob.body], byteLength: blob.body.length }
      if (now() - at > ttlSeconds * 500) void this.#renew(name, image)
      return image
    } catch (error) {
      onStoreFailure(error, 'find')
      return undefined
    }
  }

  /** Whether there is one. Never rejects. */
  async has(scope: string, digest: Digest): Promise<boolean> {
    if (this.#options.ttlSeconds === 0) return false
    try {
      return await this.#options.store.has(nameOf(scope, digest))
    } catch (error) {
      this.#options.onStoreFailure(error, 'find')
      return false
    }
  }

  /** Keeps an image that came with a question of a team. Never rejects. */
  async keep(scope: string, image: ImageBytes, team: string): Promise<void> {
    if (this.#options.ttlSeconds === 0) return
    const name = nameOf(scope, image.digest)
    const sender = senderOf(scope, image.digest, team)
    try {
      if (!this.#keptLately.has(name)) await this.#put(name, image)
      if (sender !== undefined && !this.#keptLately.has(sender)) await this.#putSender(sender)
    } catch (error) {
      this.#keptLately.delete(name)
      if (sender !== undefined) this.#keptLately.delete(sender)
      this.#options.onStoreFailure(error, 'keep')
    }
  }

  /** Keeps an image for its whole time from now on. Answers until when, milliseconds since 1970; undefined where none are kept. Rejects with `StoreError`. */
  async store(scope: string, image: ImageBytes, team: string): Promise<number | undefined> {
    const { ttlSeconds, now } = this.#options
    if (ttlSeconds === 0) return undefined
    const sender = senderOf(scope, image.digest, team)
    await this.#put(nameOf(scope, image.digest), image)
    if (sender !== undefined) await this.#putSender(sender)
    return now() + ttlSeconds * 1000
  }

  /** Takes an image out, for everybody who could name it. Rejects with `StoreError`. */
  async drop(scope: string, digest: Digest, team: string): Promise<'dropped' | 'unknown' | 'foreign'> {
    const { store } = this.#options
    const name = nameOf(scope, digest)
    const sender = senderOf(scope, digest, team)
    if (!(await store.has(name))) return 'unknown'
    if (sender !== undefined && !(await store.has(sender))) return 'foreign'
    this.#keptLately.delete(name)
    await store.delete(name)
    if (sender !== undefined) {
      this.#keptLately.delete(sender)
      await store.delete(sender)
    }
    return 'dropped'
  }

  async #put(name: string, { type, chunks }: ImageBytes): Promise<void> {
    const { store, ttlSeconds, now } = this.#options
    // Before it is written: two questions with the same new image write it once.
    this.#keptLately.set(name, true)
    const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
    const meta: ImageMeta = { type, at: now() }
    await store.put(name, { meta: JSON.stringify(meta), body }, ttlSeconds)
  }

  async #putSender(sender: string): Promise<void> {
    this.#keptLately.set(sender, true)
    await this.#options.store.put(sender, { meta: '{}', body: Buffer.alloc(0) }, this.#options.ttlSeconds)
  }

  async #renew(name: string, image: ImageBytes): Promise<void> {
    if (this.#keptLately.has(name)) return
    try {
      await this.#put(name, image)
    } catch (error) {
      this.#keptLately.delete(name)
      this.#options.onStoreFailure(error, 'keep')
    }
  }
}

function nameOf(scope: string, digest: Digest): string {
  return scope === '' ? digest : `${scope}:${digest}`
}

/** The mark of a team that has sent a shared image; where each team has its own there is nothing to tell apart. */
function senderOf(scope: string, digest: Digest, team: string): string | undefined {
  return scope === '' ? `by:${team}:${digest}` : undefined
}
