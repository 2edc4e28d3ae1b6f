import {
  type Client,
  GatewayProblem,
  type Quote,
  type RequestOptions,
  type SegmentAnswer,
  type Selection,
} from '../../../client/index.js'

/** Sends the requests of one key. Uploads each image once and refers to it by its id afterwards. */
export class GatewaySession {
  readonly client: Client
  readonly isTestKey: boolean
  readonly #uploads = new WeakMap<Blob, Promise<void>>()

  constructor(client: Client, isTestKey: boolean) {
    this.client = client
    this.isTestKey = isTestKey
  }

  /** Uploads an image unless the gateway holds it or does not store images. */
  ensureUploaded(file: Blob, options: RequestOptions): Promise<void> {
    const known = this.#uploads.get(file)
    if (known) return known
    const upload = this.#upload(file, options)
    this.#uploads.set(file, upload)
    upload.catch(() => this.#uploads.delete(file))
    return upload
  }

  async quote(file: Blob, selection: Selection, options: RequestOptions): Promise<Quote> {
    // Without the signal: a cancelled quote must not cancel the upload, which the next request
    // needs.
    await this.ensureUploaded(file, {})
    return this.client.quote(file, selection, options)
  }

  async segment(file: Blob, selection: Selection, options: RequestOptions): Promise<SegmentAnswer> {
    await this.ensureUploaded(file, options)
    return this.client.segment(file, selection, options)
  }

  async #upload(file: Blob, options: RequestOptions): Promise<void> {
    if (await this.client.has(file, options)) return
    try {
      await this.client.upload(file, options)
    } catch (error) {
      if (!(error instanceof GatewayProblem && error.code === 'not_found')) throw error
    }
  }
}
