import type { SegmentAnswer } from './answer.js'
import type { Quote } from './api.js'
import { type BatchItem, readItems } from './batch.js'
import type { ImageInput } from './image.js'
import { GatewayProblem } from './problem.js'
import {
  type Context,
  outgoing,
  postBytes,
  postName,
  type Question,
  type RequestOptions,
  readJson,
  sourceOf,
} from './request.js'
import { readFound, untilThere } from './results.js'
import { fieldsOf, type Selection } from './selection.js'
import { send } from './send.js'

export interface SegmentOptions extends RequestOptions {
  /** Rather than keep a connection open, ask again until it is done. */
  async?: boolean
  /** How long the gateway may keep the request before that, seconds. */
  waitSeconds?: number
}

/** One of many things to select in one image. */
export interface BatchSelection extends Selection {
  /** The caller's own name for it, which its item has, too. */
  id?: string
}

/** Asks for one selection and waits until it is there, whichever way that goes. */
export function segment(
  context: Context,
  image: ImageInput,
  selection: Selection,
  how: SegmentOptions,
): Promise<SegmentAnswer> {
  const question = { path: '/segment', image, fields: fieldsOf(selection), headers: preferOf(how) }
  return ask(context, question, how, {
    byName: async name => {
      const found = await postName(context, question, name, how, response => readFound(response, false, how))
      return untilThere(context, found, false, how)
    },
    withBytes: async bytes => {
      const found = await postBytes(context, question, bytes, how, response => readFound(response, true, how))
      return untilThere(context, found, true, how)
    },
  })
}

/** Asks what a selection would cost; sends the bytes only to learn more than that the gateway does not hold the image. */
export async function quote(
  context: Context,
  image: ImageInput,
  selection: Selection,
  how: RequestOptions,
): Promise<Quote> {
  const question = { path: '/segment/quote', image, fields: fieldsOf(selection) }
  const { name, bytes } = await sourceOf(context, image, how)
  if (name !== undefined) {
    const quoted = await postName(context, question, name, how, readJson<Quote>)
    if (quoted.refusal?.code !== 'unknown_image' || !bytes) return quoted
  }
  return postBytes(context, question, bytes as Blob, how, readJson<Quote>)
}

/** Asks for many selections in one image; the request begins with the first item that is taken. */
export async function* batch(
  context: Context,
  image: ImageInput,
  selections: readonly BatchSelection[],
  how: RequestOptions,
): AsyncGenerator<BatchItem> {
  const wire = selections.map(({ id, ...selection }) => ({ ...(id !== undefined && { id }), ...fieldsOf(selection) }))
  const headers = { accept: 'application/x-ndjson' }
  const question = { path: '/segment/batch', image, fields: { selections: wire }, headers }
  const response = await ask(context, question, how, {
    byName: name => postName(context, question, name, how, response => response),
    withBytes: bytes => postBytes(context, question, bytes, how, response => response),
  })
  how.onProgress?.({ phase: 'receiving' })
  yield* readItems(response, selections.length, how.signal)
}

/** Whether the gateway holds the image of that id. */
export async function isHeld({ connection }: Context, id: string, how: RequestOptions): Promise<boolean> {
  try {
    return await send(connection, outgoing('HEAD', `/images/${encodeURIComponent(id)}`, how), () => true)
  } catch (error) {
    if (error instanceof GatewayProblem && error.status === 404) return false
    throw error
  }
}

interface Ways<T> {
  byName(name: string): Promise<T>
  withBytes(bytes: Blob): Promise<T>
}

/** Asks by the image's name where it has one, and with its bytes only when the gateway does not hold it. */
async function ask<T>(context: Context, { image }: Question, how: RequestOptions, ways: Ways<T>): Promise<T> {
  const { name, bytes } = await sourceOf(context, image, how)
  if (name === undefined) return ways.withBytes(bytes as Blob)
  try {
    return await ways.byName(name)
  } catch (error) {
    if (!bytes || !(await isForWantOfBytes(context, name, error, how))) throw error
  }
  return ways.withBytes(bytes)
}

/**
 * Whether a question failed only because its image was not there. One that was accepted (202) before the gateway looked for the image ends in
 * `unknown_result`; so does a result that was paid and lost, which asking again would buy again, so the image is looked for.
 */
async function isForWantOfBytes(
  context: Context,
  name: string,
  error: unknown,
  { signal }: RequestOptions,
): Promise<boolean> {
  if (!(error instanceof GatewayProblem)) return false
  if (error.code === 'unknown_image') return true
  return error.code === 'unknown_result' && !(await isHeld(context, name, signal ? { signal } : {}))
}

function preferOf({ async: isAsync = false, waitSeconds }: SegmentOptions): Record<string, string> {
  const wishes = [...(isAsync ? ['respond-async'] : []), ...(waitSeconds === undefined ? [] : [`wait=${waitSeconds}`])]
  return wishes.length === 0 ? {} : { prefer: wishes.join(', ') }
}
