import type { SegmentAnswer } from './answer.js'
import type { HeldImage, Quote, Usage } from './api.js'
import type { BatchItem } from './batch.js'
import { ImageIds, type ImageInput } from './image.js'
import {
  type Context,
  newRequest,
  postBytes,
  postReference,
  type RequestOptions,
  readJson,
  sourceOf,
} from './request.js'
import { fetchResult, pollResult, resultPath } from './results.js'
import { type BatchSelection, batch, isHeld, quote, type SegmentOptions, segment } from './segment.js'
import type { Selection } from './selection.js'
import { type Connection, pause, send } from './send.js'

export interface ClientOptions {
  /** URL of the gateway: `http://localhost:8080`. On a page of the gateway itself, `''`. */
  url: string
  /** The team's key. */
  key: string
  /** Replaces the global `fetch`. */
  fetch?: typeof fetch
  /** Maximum number of attempts for a request that is worth retrying. Default: 3. */
  attempts?: number
  /** Longest `Retry-After` to wait for; a longer one fails the request. Default: 30. */
  maxRetryAfterSeconds?: number
  /** Replaces the timer of retries and polling, for tests. */
  wait?: Connection['wait']
}

export interface ResultOptions extends RequestOptions {
  /** With false, a pending result is returned as undefined instead of waited for. Default: true. */
  wait?: boolean
}

export interface Client {
  /** Segments an image. Sends its bytes only if the gateway does not hold it. */
  segment(image: ImageInput, selection: Selection, options?: SegmentOptions): Promise<SegmentAnswer>
  /**
   * Returns the cost that a request would have now, or the reason why it would be refused. Spends
   * nothing.
   */
  quote(image: ImageInput, selection: Selection, options?: RequestOptions): Promise<Quote>
  /** Segments an image with up to 100 selections. Leaving the loop ends the request. */
  batch(image: ImageInput, selections: readonly BatchSelection[], options?: RequestOptions): AsyncGenerator<BatchItem>
  /** Stores an image on the gateway, to refer to it by its id. */
  upload(image: ImageInput, options?: RequestOptions): Promise<HeldImage>
  /** Checks if the gateway holds an image. False for bytes that cannot be hashed here. */
  has(image: ImageInput, options?: RequestOptions): Promise<boolean>
  deleteImage(id: string, options?: RequestOptions): Promise<void>
  /** Fetches a result by its id. Waits for a pending one. */
  result(id: string, options?: ResultOptions & { wait?: true }): Promise<SegmentAnswer>
  result(id: string, options: ResultOptions): Promise<SegmentAnswer | undefined>
  /** Fetches the team's statement of a month (`2026-11`), by default the current one. */
  usage(month?: string, options?: RequestOptions): Promise<Usage>
}

/** Creates a client. Every method throws `GatewayProblem`, or the reason of the aborted signal. */
export function createClient(options: ClientOptions): Client {
  const connection = connectionOf(options)
  const context: Context = { connection, ids: new ImageIds() }
  return {
    segment: (image, selection, options = {}) => segment(context, image, selection, options),
    quote: (image, selection, options = {}) => quote(context, image, selection, options),
    batch: (image, selections, options = {}) => batch(context, image, selections, options),
    upload: (image, options = {}) => upload(context, image, options),
    async has(image, options = {}) {
      const { reference } = await sourceOf(context, image, options)
      return reference !== undefined && isHeld(context, reference, options)
    },
    deleteImage: (id, options = {}) =>
      send(connection, newRequest('DELETE', `/images/${encodeURIComponent(id)}`, options), () => undefined),
    result: (id, options = {}) => result(context, id, options) as Promise<SegmentAnswer>,
    usage(month, options = {}) {
      const query = month === undefined ? '' : `?month=${encodeURIComponent(month)}`
      return send(connection, newRequest('GET', `/usage${query}`, options), readJson<Usage>)
    },
  }
}

function connectionOf(options: ClientOptions): Connection {
  const { fetch: custom, attempts = 3, maxRetryAfterSeconds = 30, wait = pause } = options
  return {
    url: options.url.replace(/\/+$/, ''),
    key: options.key,
    // Browsers throw if fetch is called as a method of another object.
    fetch: custom ? (input, init) => custom(input, init) : (input, init) => globalThis.fetch(input, init),
    isFetchCustom: custom !== undefined,
    attempts,
    maxRetryAfterSeconds,
    wait,
  }
}

async function upload(context: Context, image: ImageInput, options: RequestOptions): Promise<HeldImage> {
  const request = { path: '/images', image, fields: {} }
  if (typeof image === 'string') return postReference(context, request, image, options, readJson<HeldImage>)
  const { bytes } = await sourceOf(context, image, options)
  return postBytes(context, request, bytes as Blob, options, readJson<HeldImage>)
}

async function result(context: Context, id: string, options: ResultOptions): Promise<SegmentAnswer | undefined> {
  const outcome = await fetchResult(context, resultPath(id), false, options)
  if ('answer' in outcome) return outcome.answer
  return options.wait === false ? undefined : pollResult(context, outcome, false, options)
}
