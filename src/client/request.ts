import type { ImageIds, ImageInput, ImageSource } from './image.js'
import { unreadable } from './problem.js'
import { asText } from './selection.js'
import { type Connection, type Outgoing, send } from './send.js'
import { type OnProgress, sendForm } from './upload.js'

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

/** What the methods of one client share. */
export interface Context {
  connection: Connection
  ids: ImageIds
}

/** What is asked of an image, however the image is sent. */
export interface Question {
  path: string
  image: ImageInput
  fields: Record<string, unknown>
  headers?: Record<string, string>
}

type Read<T> = (response: Response) => T | Promise<T>

/** What is known of the image before the gateway is asked; hashes its bytes the first time. */
export function sourceOf(
  { ids }: Context,
  image: ImageInput,
  { signal, onProgress }: RequestOptions,
): Promise<ImageSource> {
  signal?.throwIfAborted()
  return ids.sourceOf(image, () => onProgress?.({ phase: 'hashing' }))
}

/** Asks by the image's name, in a few hundred bytes. */
export function postName<T>(
  context: Context,
  question: Question,
  name: string,
  how: RequestOptions,
  read: Read<T>,
): Promise<T> {
  how.onProgress?.({ phase: 'asking' })
  const sent = outgoing('POST', question.path, how)
  const headers = { ...sent.headers, ...question.headers, 'content-type': 'application/json' }
  const body = JSON.stringify({ image: name, ...question.fields })
  return send(context.connection, { ...sent, headers, body }, read)
}

/** Asks with the image's bytes, and takes down the id the gateway gives them. */
export function postBytes<T>(
  context: Context,
  question: Question,
  bytes: Blob,
  how: RequestOptions,
  read: Read<T>,
): Promise<T> {
  const { connection, ids } = context
  const { signal, onProgress } = how
  const form = { path: question.path, fields: asText(question.fields), image: bytes, signal, onProgress }
  const sent = outgoing('POST', question.path, how)
  const headers = { ...sent.headers, ...question.headers }
  const sendBytes = (headers: Record<string, string>) => sendForm(connection, { ...form, headers })
  return send(connection, { ...sent, headers, send: sendBytes }, response => {
    ids.learn(question.image, response.headers.get('x-image-id'))
    return read(response)
  })
}

/** A `POST` sent twice buys twice only where it bypasses the cache, and not even then under an `Idempotency-Key`. */
export function outgoing(method: string, path: string, how: RequestOptions): Outgoing {
  const { signal, cacheControl, idempotencyKey, requestId } = how
  const bypasses = /no-cache|no-store/i.test(cacheControl ?? '')
  const headers = {
    ...(cacheControl !== undefined && { 'cache-control': cacheControl }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
    ...(requestId !== undefined && { 'x-request-id': requestId }),
  }
  return { method, path, headers, signal, isRepeatable: method !== 'POST' || !bypasses || idempotencyKey !== undefined }
}

/** Reads an answer of JSON. Throws `unreadable_answer` for one that is none. */
export async function readJson<T>(response: Response): Promise<T> {
  const text = await response.text()
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw unreadable(response, cause)
  }
}
