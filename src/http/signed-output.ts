import { createHmac, timingSafeEqual } from 'node:crypto'

/** A result at an address of its own, for whoever has that address. */
export interface Output {
  resultId: string
  /** Of a test key's results. */
  isTest: boolean
}

export interface OutputAddressesOptions {
  /** Known to all replicas. Rejects with `StoreError`. */
  secret(): Promise<string>
  /** `RESULT_URL_TTL`. */
  ttlSeconds: number
  /** Milliseconds since 1970. */
  now(): number
}

/** What the last part of an address, and its query, say. */
export interface OutputAddress {
  name: string
  expires: string
  signature: string
}

const NAME = /^([0-9a-f]{64})(-test)?\.(jpg|png|webp)$/
const EXTENSIONS: Readonly<Record<string, string>> = { 'image/jpeg': 'jpg', 'image/png': 'png', 'image/webp': 'webp' }

/** Makes and reads addresses that open one result, without a key, for a while: signed (HMAC-SHA-256), so that nobody can make one up. */
export class OutputAddresses {
  readonly #options: OutputAddressesOptions

  constructor(options: OutputAddressesOptions) {
    this.#options = options
  }

  /** Path and query. Rejects with `StoreError`. */
  async make({ resultId, isTest }: Output, contentType: string): Promise<string> {
    const { ttlSeconds, now } = this.#options
    const name = `${resultId}${isTest ? '-test' : ''}.${EXTENSIONS[contentType] ?? 'jpg'}`
    const expires = String(Math.floor(now() / 1000) + ttlSeconds)
    const signature = await this.#sign(name, expires)
    return `/outputs/${name}?expires=${expires}&signature=${signature.toString('base64url')}`
  }

  /** What an address opens and until when (milliseconds since 1970); nothing where it was not made here, or is over. Rejects with `StoreError`. */
  async read({ name, expires, signature }: OutputAddress): Promise<(Output & { expiresAt: number }) | undefined> {
    const [, resultId, test] = NAME.exec(name) ?? []
    if (resultId === undefined || !/^\d{1,12}$/.test(expires)) return undefined
    const wanted = await this.#sign(name, expires)
    const given = Buffer.from(signature, 'base64url')
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return undefined
    const expiresAt = Number(expires) * 1000
    return expiresAt > this.#options.now() ? { resultId, isTest: test !== undefined, expiresAt } : undefined
  }

  async #sign(name: string, expires: string): Promise<Buffer> {
    return createHmac('sha256', await this.#options.secret())
      .update(`${name}\n${expires}`)
      .digest()
  }
}
