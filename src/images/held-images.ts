import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { BodyObserver } from '../contracts/observer.js'
import type { BlobStore } from '../contracts/store.js'
import type { Digest, ImageBytes, ImageType } from '../contracts/types.js'
import { joinChunks } from './byte-collector.js'

export interface HeldImagesOptions {
  store: BlobStore
  /** `IMAGE_TTL_SECONDS`; 0 keeps none. */
  ttlSeconds: number
  now: Clock
  observer: BodyObserver
}

/** Metadata of a stored image. The member names are part of the stored format. */
interface ImageMeta {
  type: ImageType
  /** Time of storing, milliseconds since 1970. */
  at: number
}

/**
 * Number of images that this process remembers as stored lately, so that it does not store them
 * again.
 */
const MAX_STORED_LATELY = 10_000

/**
 * Images by id, so that a client need not send an image twice. Each use prolongs an image's life.
 * If teams share images, each team that sent one is recorded, and only these teams may delete it.
 * Fails open: an image that could not be stored must be sent again.
 */
export class HeldImages {
  readonly #options: HeldImagesOptions
  readonly #storedLately: LRUCache<string, true | ImageMeta>
  /** Images that requests use now, so that many selections of one image read it once. */
  readonly #inUse = new Map<string, { image: WeakRef<ImageBytes>; at: number }>()
  readonly #reading = new Map<string, Promise<ImageBytes | undefined>>()
  readonly #unused = new FinalizationRegistry<string>(key => {
    if (!this.#inUse.get(key)?.image.deref()) this.#inUse.delete(key)
  })

  constructor(options: HeldImagesOptions) {
    this.#options = options
    // Half the time to live, so that an image in use is stored again before it expires.
    this.#storedLately = new LRUCache({
      // With `max`, room for all of them would be allocated at the start.
      maxSize: MAX_STORED_LATELY,
      sizeCalculation: () => 1,
      ttl: Math.max(1, options.ttlSeconds * 500),
    })
  }

  /** Finds an image. Never rejects: a failure of the store is a miss. */
  async find(scope: string, digest: Digest): Promise<ImageBytes | undefined> {
    if (this.#options.ttlSeconds === 0) return undefined
    const key = imageKey(scope, digest)
    const inUse = this.#inUse.get(key)
    const image = inUse?.image.deref()
    if (inUse && image) {
      this.#renewInTime(key, image, inUse.at)
      return image
    }
    const reading = this.#reading.get(key)
    if (reading) return reading
    const started = this.#read(key, digest).finally(() => this.#reading.delete(key))
    this.#reading.set(key, started)
    return started
  }

  async #read(key: string, digest: Digest): Promise<ImageBytes | undefined> {
    const { store, observer } = this.#options
    try {
      const blob = await store.get(key)
      if (!blob) {
        this.#storedLately.delete(key)
        return undefined
      }
      if (createHash('sha256').update(blob.body).digest('hex') !== digest) {
        this.#storedLately.delete(key)
        await store.delete(key)
        observer.bodyDamaged('image', digest)
        return undefined
      }
      const { type, at = 0 } = JSON.parse(blob.meta) as ImageMeta
      const image: ImageBytes = { type, digest, chunks: [blob.body], byteLength: blob.body.length }
      this.#inUse.set(key, { image: new WeakRef(image), at })
      this.#unused.register(image, key)
      this.#renewInTime(key, image, at)
      return image
    } catch (error) {
      observer.storeFailed(error, 'images: find')
      return undefined
    }
  }

  /** Returns whether the store has the image. Never rejects. */
  async has(scope: string, digest: Digest): Promise<boolean> {
    if (this.#options.ttlSeconds === 0) return false
    try {
      return await this.#options.store.has(imageKey(scope, digest))
    } catch (error) {
      this.#options.observer.storeFailed(error, 'images: find')
      return false
    }
  }

  /** Stores an image that a team sent with a request. Never rejects. */
  async keep(scope: string, image: ImageBytes, team: string): Promise<void> {
    if (this.#options.ttlSeconds === 0) return
    const key = imageKey(scope, image.digest)
    const sender = senderKey(scope, image.digest, team)
    try {
      // Both at once, which is one transaction of the embedded store.
      await Promise.all([
        !this.#storedLately.has(key) && this.#put(key, image),
        sender !== undefined && !this.#storedLately.has(sender) && this.#putSender(sender),
      ])
    } catch (error) {
      this.#storedLately.delete(key)
      if (sender !== undefined) this.#storedLately.delete(sender)
      this.#options.observer.storeFailed(error, 'images: keep')
    }
  }

  /**
   * Stores an image for a full time to live from now. Returns when it expires, milliseconds since
   * 1970, or undefined where no images are kept. Rejects with `StoreError`.
   */
  async store(scope: string, image: ImageBytes, team: string): Promise<number | undefined> {
    const { ttlSeconds, now } = this.#options
    if (ttlSeconds === 0) return undefined
    const sender = senderKey(scope, image.digest, team)
    await this.#put(imageKey(scope, image.digest), image)
    if (sender !== undefined) await this.#putSender(sender)
    return now() + ttlSeconds * 1000
  }

  /**
   * Deletes an image for every team that could use it. Returns `foreign` to a team that did not
   * send it. Rejects with `StoreError`.
   */
  async drop(scope: string, digest: Digest, team: string): Promise<'dropped' | 'unknown' | 'foreign'> {
    const { store } = this.#options
    const key = imageKey(scope, digest)
    const sender = senderKey(scope, digest, team)
    if (!(await store.has(key))) return 'unknown'
    if (sender !== undefined && !(await store.has(sender))) return 'foreign'
    this.#storedLately.delete(key)
    this.#inUse.delete(key)
    await store.delete(key)
    if (sender !== undefined) {
      this.#storedLately.delete(sender)
      await store.delete(sender)
    }
    return 'dropped'
  }

  async #put(key: string, image: ImageBytes): Promise<void> {
    const { store, ttlSeconds, now } = this.#options
    const body = joinChunks(image)
    const { type, release } = image
    // The store may read the bytes even after a failed write.
    delete image.release
    const meta: ImageMeta = { type, at: now() }
    // Recorded before the write, so that two requests with the same new image write it once.
    this.#storedLately.set(key, meta)
    await store.put(key, { meta: JSON.stringify(meta), body }, ttlSeconds)
    // If the record was deleted meanwhile, another write may read the bytes.
    if (this.#storedLately.get(key) === meta) Object.assign(image, defined({ release }))
  }

  async #putSender(sender: string): Promise<void> {
    this.#storedLately.set(sender, true)
    await this.#options.store.put(sender, { meta: '{}', body: Buffer.alloc(0) }, this.#options.ttlSeconds)
  }

  /** Stores an image again after half its time to live. */
  #renewInTime(key: string, image: ImageBytes, storedAt: number): void {
    const { ttlSeconds, now } = this.#options
    if (now() - storedAt > ttlSeconds * 500) void this.#renew(key, image)
  }

  async #renew(key: string, image: ImageBytes): Promise<void> {
    if (this.#storedLately.has(key)) return
    try {
      await this.#put(key, image)
    } catch (error) {
      this.#storedLately.delete(key)
      this.#options.observer.storeFailed(error, 'images: keep')
    }
  }
}

function imageKey(scope: string, digest: Digest): string {
  return scope === '' ? digest : `${scope}:${digest}`
}

/**
 * Returns the key that marks a team as sender of a shared image; undefined where images are not
 * shared.
 */
function senderKey(scope: string, digest: Digest, team: string): string | undefined {
  return scope === '' ? `by:${team}:${digest}` : undefined
}
