import {
  type Client,
  GatewayProblem,
  type Quote,
  type RequestOptions,
  type SegmentAnswer,
  type Selection,
} from '../../client/index.js'

/** What one key asks: each picture is sent once, and named by its id from then on. */
export class GatewaySession {
  readonly client: Client
  readonly isTestKey: boolean
  readonly #held = new WeakMap<Blob, Promise<void>>()

  constructor(client: Client, isTestKey: boolean) {
    this.client = client
    this.isTestKey = isTestKey
  }

  /** Makes the gateway hold a picture, once. A gateway that keeps none gets it with every question. */
  hold(file: Blob, how: RequestOptions): Promise<void> {
    const known = this.#held.get(file)
    if (known) return known
    const holding = this.#send(file, how)
    this.#held.set(file, holding)
    holding.catch(() => this.#held.delete(file))
    return holding
  }

  /** What a selection would cost; by the picture's id wherever the gateway holds it. */
  async quote(file: Blob, selection: Selection, how: RequestOptions): Promise<Quote> {
    // Without the signal: who asks something else still needs the picture.
    await this.hold(file, {})
    return this.client.quote(file, selection, how)
  }

  async segment(file: Blob, selection: Selection, how: RequestOptions): Promise<SegmentAnswer> {
    await this.hold(file, how)
    return this.client.segment(file, selection, how)
  }

  async #send(file: Blob, how: RequestOptions): Promise<void> {
    if (await this.client.has(file, how)) return
    try {
      await this.client.upload(file, how)
    } catch (error) {
      if (!(error instanceof GatewayProblem && error.code === 'not_found')) throw error
    }
  }
}
