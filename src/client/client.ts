import { readAnswer, type SegmentAnswer } from './answer.js'
import type { HeldImage, Quote, Usage } from './api.js'
import { type BatchItem, readItems } from './batch.js'
import { ImageIds, type ImageInput, type ImageSource } from './image.js'
import { GatewayProblem, networkProblem } from './problem.js'
import { asText, fieldsOf, type Selection } from './selection.js'
import { type Connection, type Outgoing, pause, send } from './send.js'
import { type OnProgress, sendForm } from './upload.js'

export interface ClientOptions {
  /** Where the gateway is: `http://localhost:8080`. In a page of the gateway itself, `''`. */
  url: string
  /** The team's key. */
  key: string
  /** Default: the runtime's own. */
  fetch?: typeof fetch
  /** How often a request is sent at most, where the gateway says that trying again may help. Default 3. */
  attempts?: number
  /** A longer `Retry-After` is not waited for. Default 60. */
  maxRetryAfterSeconds?: number
  /** For tests. */
  wait?: Connection['wait']
}

export interface RequestOptions {
  signal?: AbortSignal
  onProgress?: OnProgress
  /** `no-cache`, `no-store`, `max-age=N`, `only-if-cached`. */
  cacheControl?: string
  /** Where the cache is bypassed: sent again under the same key it is not bought again. */
  idempotencyKey?: string
  /** Your own id for the request, in the gateway's log and books. */
  requestId?: string
}

export interface SegmentOptions extends RequestOptions {
  /** Rather than keep a connection open, ask again until it is done. */
  async?: boolean
  /** How long the gateway may keep the request before that, seconds. */
  waitSeconds?: number
}

/** One of many things to select in one image. */
export interface BatchSelection extends Selection {
  id?: string
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
  /** Whether the gateway holds an image. */
  has(image: ImageInput, options?: RequestOptions): Promise<boolean>
  deleteImage(id: string, options?: RequestOptions): Promise<void>
  /** A result by its id; waits for one that is on its way. */
  result(id: string, options?: RequestOptions): Promise<SegmentAnswer>
  /** The team's statement of a month (`2026-11`), by day. */
  usage(month?: string, options?: RequestOptions): Promise<Usage>
}

/** Makes a client of a gateway. Every method throws `GatewayProblem`, or the signal's reason. */
export function createClient(options: ClientOptions): Client {
  const { fetch: ownFetch, attempts = 3, maxRetryAfterSeconds = 60, wait = pause } = options
  const connection: Connection = {
    url: options.url.replace(/\/+$/, ''),
    key: options.key,
    fetch: ownFetch ?? globalThis.fetch,
    ...{ attempts, maxRetryAfterSeconds, wait },
  }
  const ids = new ImageIds()
  const context: Context = { connection, ids }
  return {
    segment: (image, selection, how = {}) => segment(context, image, selection, how),
    quote: (image, selection, how = {}) => quote(context, image, selection, how),
    batch: (image, selections, how = {}) => batch(context, image, selections, how),
    async upload(image, how = {}) {
      const source = await ids.sourceOf(image, () => how.onProgress?.({ phase: 'hashing' }))
      const response = source.bytes
        ? await postForm(context, { path: '/images', fields: {} }, source.bytes, how)
        : await postJson(context, { path: '/images', fields: {} }, source.name ?? '', how)
      return jsonOf<HeldImage>(response)
    },
    async has(image, how = {}) {
      const { name } = await ids.sourceOf(image)
      if (name === undefined) return false
      try {
        await send(connection, { ...plain('HEAD', `/images/${name}`, how) })
        return true
      } catch (error) {
        if (error instanceof GatewayProblem && error.status === 404) return false
        throw error
      }
    },
    deleteImage: async (id, how = {}) => void (await send(connection, plain('DELETE', `/images/${id}`, how))),
    result: async (id, how = {}) => readAnswer(await untilDone(context, `/results/${id}`, how), false),
    usage: async (month, how = {}) =>
      jsonOf<Usage>(await send(connection, plain('GET', `/usage${month === undefined ? '' : `?month=${month}`}`, how))),
  }
}

interface Context {
  connection: Connection
  ids: ImageIds
}

interface Question {
  path: string
  fields: Record<string, unknown>
  headers?: Record<string, string>
}

async function segment(
  context: Context,
  image: ImageInput,
  selection: Selection,
  how: SegmentOptions,
): Promise<SegmentAnswer> {
  const question = { path: '/segment', fields: fieldsOf(selection), headers: preferOf(how) }
  const asked = await ask(context, image, question, how)
  context.ids.learn(image, asked.response.headers.get('x-image-id'))
  let { response } = asked
  const location = response.headers.get('location')
  if (response.status === 202 && location !== null) {
    await waitFor(context, response, how)
    response = await untilDone(context, location, how)
  }
  how.onProgress?.({ phase: 'receiving' })
  return readAnswer(response, asked.isUploaded).catch(error => {
    how.signal?.throwIfAborted()
    throw networkProblem(error)
  })
}

async function quote(context: Context, image: ImageInput, selection: Selection, how: RequestOptions): Promise<Quote> {
  const question = { path: '/segment/quote', fields: fieldsOf(selection) }
  const source = await sourceOf(context, image, how)
  const { name, bytes } = source
  if (name !== undefined) {
    const quoted = await jsonOf<Quote>(await postJson(context, question, name, how))
    if (quoted.refusal?.code !== 'unknown_image' || !bytes) return quoted
  }
  return jsonOf<Quote>(await postForm(context, question, bytes as Blob, how))
}

async function* batch(
  context: Context,
  image: ImageInput,
  selections: readonly BatchSelection[],
  how: RequestOptions,
): AsyncGenerator<BatchItem> {
  const wire = selections.map(({ id, ...selection }) => ({ ...(id !== undefined && { id }), ...fieldsOf(selection) }))
  const headers = { accept: 'application/x-ndjson' }
  const { response } = await ask(context, image, { path: '/segment/batch', fields: { selections: wire }, headers }, how)
  context.ids.learn(image, response.headers.get('x-image-id'))
  how.onProgress?.({ phase: 'receiving' })
  yield* readItems(response, selections.length)
}

/** Asks by the image's name where it has one; sends the bytes only when the gateway does not know it. */
async function ask(
  context: Context,
  image: ImageInput,
  question: Question,
  how: RequestOptions,
): Promise<{ response: Response; isUploaded: boolean }> {
  const { name, bytes } = await sourceOf(context, image, how)
  if (name !== undefined) {
    how.onProgress?.({ phase: 'asking' })
    try {
      return { response: await postJson(context, question, name, how), isUploaded: false }
    } catch (error) {
      if (!(error instanceof GatewayProblem && error.code === 'unknown_image') || !bytes) throw error
    }
  }
  return { response: await postForm(context, question, bytes as Blob, how), isUploaded: true }
}

function sourceOf({ ids }: Context, image: ImageInput, { signal, onProgress }: RequestOptions): Promise<ImageSource> {
  signal?.throwIfAborted()
  return ids.sourceOf(image, () => onProgress?.({ phase: 'hashing' }))
}

function postJson(context: Context, question: Question, image: string, how: RequestOptions): Promise<Response> {
  const headers = { ...headersOf(how), ...question.headers, 'content-type': 'application/json' }
  const body = JSON.stringify({ image, ...question.fields })
  return send(context.connection, { ...plain('POST', question.path, how), headers, body: () => body })
}

function postForm(context: Context, question: Question, image: Blob, how: RequestOptions): Promise<Response> {
  const { connection } = context
  const { signal, onProgress } = how
  const form = { path: question.path, fields: asText(question.fields), image, signal, onProgress }
  return send(connection, {
    ...plain('POST', question.path, how),
    headers: { ...headersOf(how), ...question.headers },
    send: headers => sendForm(connection, { ...form, headers }),
  })
}

/** A request sent twice buys twice only where it bypasses the cache, and not even then under an `Idempotency-Key`. */
function plain(method: string, path: string, how: RequestOptions): Outgoing {
  const bypasses = /no-cache|no-store/i.test(how.cacheControl ?? '')
  const isRepeatable = !bypasses || how.idempotencyKey !== undefined
  return { method, path, headers: headersOf(how), signal: how.signal, isRepeatable }
}

function headersOf({ cacheControl, idempotencyKey, requestId }: RequestOptions): Record<string, string> {
  return {
    ...(cacheControl !== undefined && { 'cache-control': cacheControl }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    ...(requestId !== undefined && { 'x-request-id': requestId }),
  }
}

function preferOf({ async: isAsync = false, waitSeconds }: SegmentOptions): Record<string, string> {
  const wishes = [...(isAsync ? ['respond-async'] : []), ...(waitSeconds === undefined ? [] : [`wait=${waitSeconds}`])]
  return wishes.length === 0 ? {} : { prefer: wishes.join(', ') }
}

/** Fetches a result, asking again as long as it is on its way. */
async function untilDone(context: Context, path: string, how: RequestOptions): Promise<Response> {
  for (;;) {
    const response = await send(context.connection, plain('GET', path, { ...how, cacheControl: undefined as never }))
    if (response.status !== 202) return response
    await waitFor(context, response, how)
  }
}

const POLL_SECONDS = 2

async function waitFor(
  { connection }: Context,
  response: Response,
  { signal, onProgress }: RequestOptions,
): Promise<void> {
  onProgress?.({ phase: 'waiting' })
  await response.body?.cancel()
  await connection.wait(1000 * Number(response.headers.get('retry-after') ?? POLL_SECONDS), signal)
}

async function jsonOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T
}
