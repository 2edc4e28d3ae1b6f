import type { SegmentAnswer } from './answer.js'
import type { HeldImage, Quote, Usage } from './api.js'
import type { BatchItem } from './batch.js'
import { ImageIds, type ImageInput } from './image.js'
import { type BatchSelection, batch, isHeld, quote, type SegmentOptions, segment } from './questions.js'
import { type Context, outgoing, postBytes, postName, type RequestOptions, readJson, sourceOf } from './request.js'
import { findResult, pathOf, untilThere } from './results.js'
import type { Selection } from './selection.js'
import { type Connection, pause, send } from './send.js'

export interface ClientOptions {
  /** Where the gateway is: `http://localhost:8080`. In a page of the gateway itself, `''`. */
  url: string
  /** The team's key. */
  key: string
  /** Default: the runtime's own. */
  fetch?: typeof fetch
  /** How often a request is sent at most, where the gateway says that trying again may help. Default 3. */
  attempts?: number
  /** A longer `Retry-After` is not waited for, but told. Default 30. */
  maxRetryAfterSeconds?: number
  /** For tests. */
  wait?: Connection['wait']
}

export interface ResultOptions extends RequestOptions {
  /** Default true. With false a result that is on its way is answered with undefined. */
  wait?: boolean
}

export interface Client {
  /** Selects something in an image. The bytes are sent only where the gateway does not hold the image. */
  segment(image: ImageInput, selection: Selection, options?: SegmentOptions): Promise<SegmentAnswer>
  /** What the same would cost now, and whether it would be refused; spends nothing. */
  quote(image: ImageInput, selection: Selection, options?: RequestOptions): Promise<Quote>
  /** Up to 100 selections, answered as each is done. Leaving the loop ends the request. */
  batch(image: ImageInput, selections: readonly BatchSelection[], options?: RequestOptions): AsyncGenerator<BatchItem>
  /** Stores an image, to be named by its id. */
  upload(image: ImageInput, options?: RequestOptions): Promise<HeldImage>
  /** Whether the gateway holds an image. Of bytes that cannot be hashed here and were never sent, false. */
  has(image: ImageInput, options?: RequestOptions): Promise<boolean>
  deleteImage(id: string, options?: RequestOptions): Promise<void>
  /** A result by its id; waits for one that is on its way. */
  result(id: string, options?: ResultOptions & { wait?: true }): Promise<SegmentAnswer>
  result(id: string, options: ResultOptions): Promise<SegmentAnswer | undefined>
  /** The team's statement of a month (`2026-11`), by day. */
  usage(month?: string, options?: RequestOptions): Promise<Usage>
}

/** Makes a client of a gateway. Every method throws `GatewayProblem`, or the signal's reason. */
export function createClient(options: ClientOptions): Client {
  const connection = connectionOf(options)
  const context: Context = { connection, ids: new ImageIds() }
  return {
    segment: (image, selection, how = {}) => segment(context, image, selection, how),
    quote: (image, selection, how = {}) => quote(context, image, selection, how),
    batch: (image, selections, how = {}) => batch(context, image, selections, how),
    upload: (image, how = {}) => upload(context, image, how),
    async has(image, how = {}) {
      const { name } = await sourceOf(context, image, how)
      return name !== undefined && isHeld(context, name, how)
    },
    deleteImage: (id, how = {}) =>
      send(connection, outgoing('DELETE', `/images/${encodeURIComponent(id)}`, how), () => undefined),
    result: (id, how = {}) => result(context, id, how) as Promise<SegmentAnswer>,
    usage(month, how = {}) {
      const query = month === undefined ? '' : `?month=${encodeURIComponent(month)}`
      return send(connection, outgoing('GET', `/usage${query}`, how), readJson<Usage>)
    },
  }
}

function connectionOf(options: ClientOptions): Connection {
  const { fetch: given, attempts = 3, maxRetryAfterSeconds = 30, wait = pause } = options
  return {
    url: options.url.replace(/\/+$/, ''),
    key: options.key,
    // A browser's fetch refuses to be called as the method of anything but its window.
    fetch: given ? (input, init) => given(input, init) : (input, init) => globalThis.fetch(input, init),
    isFetchGiven: given !== undefined,
    ...{ attempts, maxRetryAfterSeconds, wait },
  }
}

async function upload(context: Context, image: ImageInput, how: RequestOptions): Promise<HeldImage> {
  const question = { path: '/images', image, fields: {} }
  if (typeof image === 'string') return postName(context, question, image, how, readJson<HeldImage>)
  const { bytes } = await sourceOf(context, image, how)
  return postBytes(context, question, bytes as Blob, how, readJson<HeldImage>)
}

async function result(context: Context, id: string, how: ResultOptions): Promise<SegmentAnswer | undefined> {
  const found = await findResult(context, pathOf(id), false, how)
  if ('answer' in found) return found.answer
  return how.wait === false ? undefined : untilThere(context, found, false, how)
}
