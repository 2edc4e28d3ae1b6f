import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../contracts/clock.js'

/** A result that a signed URL opens. */
export interface SignedResult {
  resultId: string
  /** Bought with a test key. */
  isTest: boolean
}

export interface SignedUrlsOptions {
  /** Secret that all replicas share. Rejects with `StoreError`. */
  secret(): Promise<string>
  /** `RESULT_URL_TTL`. */
  ttlSeconds: number
  now: Clock
}

/** The last path segment of a signed URL, and its query. */
export interface SignedUrl {
  name: string
  expires: string
  signature: string
}

const NAME = /^([0-9a-f]{64})(-test)?\.(jpg|png|webp)$/
const EXTENSIONS: Readonly<Record<string, string>> = { 'image/jpeg': 'jpg', 'image/png': 'png', 'image/webp': 'webp' }

/**
 * Creates and verifies URLs that open one result without a key for a limited time, signed with
 * HMAC-SHA-256.
 */
export class SignedUrls {
  readonly #options: SignedUrlsOptions

  constructor(options: SignedUrlsOptions) {
    this.#options = options
  }

  /** Returns path and query. Rejects with `StoreError`. */
  async create({ resultId, isTest }: SignedResult, contentType: string): Promise<string> {
    const { ttlSeconds, now } = this.#options
    const name = `${resultId}${isTest ? '-test' : ''}.${EXTENSIONS[contentType] ?? 'jpg'}`
    const expires = String(Math.floor(now() / 1000) + ttlSeconds)
    const signature = await this.#sign(name, expires)
    return `/outputs/${name}?expires=${expires}&signature=${signature.toString('base64url')}`
  }

  /**
   * Resolves with the result and the expiry (milliseconds since 1970); undefined for an invalid
   * signature or an expired URL. Rejects with `StoreError`.
   */
  async verify({ name, expires, signature }: SignedUrl): Promise<(SignedResult & { expiresAt: number }) | undefined> {
    const [, resultId, test] = NAME.exec(name) ?? []
    if (resultId === undefined || !/^\d{1,12}$/.test(expires)) return undefined
    const expected = await this.#sign(name, expires)
    const given = Buffer.from(signature, 'base64url')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    const expiresAt = Number(expires) * 1000
    return expiresAt > this.#options.now() ? { resultId, isTest: test !== undefined, expiresAt } : undefined
  }

  async #sign(name: string, expires: string): Promise<Buffer> {
    return createHmac('sha256', await this.#options.secret())
      .update(`${name}\n${expires}`)
      .digest()
  }
}
