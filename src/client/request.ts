import { defined } from './defined.js'
import type { ImageIds, ImageInput, ImageSource } from './image.js'
import { unreadableAnswer } from './problem.js'
import { toFormFields } from './selection.js'
import { type Connection, type Outgoing, send } from './send.js'
import { type OnProgress, sendForm } from './upload.js'

export interface RequestOptions {
  signal?: AbortSignal
  onProgress?: OnProgress
  /** `no-cache`, `no-store`, `max-age=N` or `only-if-cached`. */
  cacheControl?: string
  /** For requests that bypass the cache: a repetition with the same key is not bought again. */
  idempotencyKey?: string
  /** Your own request id, which appears in the gateway's log and ledger. */
  requestId?: string
}

/** Shared by the methods of one client. */
export interface Context {
  connection: Connection
  ids: ImageIds
}

/** A request about an image, apart from how the image is sent. */
export interface ImageRequest {
  path: string
  image: ImageInput
  fields: Record<string, unknown>
  headers?: Record<string, string>
}

type Read<T> = (response: Response) => T | Promise<T>

/** Returns the reference and the bytes of an image. Hashes the bytes the first time. */
export function sourceOf(
  { ids }: Context,
  image: ImageInput,
  { signal, onProgress }: RequestOptions,
): Promise<ImageSource> {
  signal?.throwIfAborted()
  return ids.sourceOf(image, () => onProgress?.({ phase: 'hashing' }))
}

/** Sends a request with a reference to the image: a few hundred bytes of JSON. */
export function postReference<T>(
  context: Context,
  request: ImageRequest,
  reference: string,
  options: RequestOptions,
  read: Read<T>,
): Promise<T> {
  options.onProgress?.({ phase: 'requesting' })
  const outgoing = newRequest('POST', request.path, options)
  const headers = { ...outgoing.headers, ...request.headers, 'content-type': 'application/json' }
  const body = JSON.stringify({ image: reference, ...request.fields })
  return send(context.connection, { ...outgoing, headers, body }, read)
}

/** Sends a request with the image's bytes. Remembers the id that the gateway reports. */
export function postBytes<T>(
  context: Context,
  request: ImageRequest,
  bytes: Blob,
  options: RequestOptions,
  read: Read<T>,
): Promise<T> {
  const { connection, ids } = context
  const { signal, onProgress } = options
  const form = { path: request.path, fields: toFormFields(request.fields), image: bytes, signal, onProgress }
  const outgoing = newRequest('POST', request.path, options)
  const headers = { ...outgoing.headers, ...request.headers }
  const sendBytes = (headers: Record<string, string>) => sendForm(connection, { ...form, headers })
  return send(connection, { ...outgoing, headers, send: sendBytes }, response => {
    ids.remember(request.image, response.headers.get('x-image-id'))
    return read(response)
  })
}

/** Creates a request. Only a `POST` that bypasses the cache may not be idempotent. */
export function newRequest(method: string, path: string, options: RequestOptions): Outgoing {
  const { signal, cacheControl, idempotencyKey, requestId } = options
  const isBypass = /no-cache|no-store/i.test(cacheControl ?? '')
  const headers = defined({
    'cache-control': cacheControl,
    'idempotency-key': idempotencyKey,
    'x-request-id': requestId,
  })
  return { method, path, headers, signal, isIdempotent: method !== 'POST' || !isBypass || idempotencyKey !== undefined }
}

/** Reads a JSON response. Throws `unreadable_answer` if it is not JSON. */
export async function readJson<T>(response: Response): Promise<T> {
  const text = await response.text()
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw unreadableAnswer(response, cause)
  }
}
