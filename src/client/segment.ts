import type { SegmentAnswer } from './answer.js'
import type { Quote } from './api.js'
import { type BatchItem, readItems } from './batch.js'
import { defined } from './defined.js'
import type { ImageInput } from './image.js'
import { GatewayProblem } from './problem.js'
import {
  type Context,
  type ImageRequest,
  newRequest,
  postBytes,
  postReference,
  type RequestOptions,
  readJson,
  sourceOf,
} from './request.js'
import { pollResult, type ResultOutcome, readOutcome } from './results.js'
import { type Selection, toFields } from './selection.js'
import { send } from './send.js'

export interface SegmentOptions extends RequestOptions {
  /** Polls for the result instead of keeping a connection open. */
  async?: boolean
  /** Maximum time the gateway holds the connection before polling starts, in seconds. */
  waitSeconds?: number
}

/** One selection of a batch. */
export interface BatchSelection extends Selection {
  /** Your own id for the selection, repeated in its item. */
  id?: string
}

/** Segments an image and waits for the result, over one connection or by polling. */
export function segment(
  context: Context,
  image: ImageInput,
  selection: Selection,
  options: SegmentOptions,
): Promise<SegmentAnswer> {
  const request = { path: '/segment', image, fields: toFields(selection), headers: preferHeader(options) }
  return withReferenceOrBytes(context, request, options, {
    async withReference(reference) {
      const read = (response: Response) => readOutcome(response, false, options)
      return awaitAnswer(context, await postReference(context, request, reference, options, read), false, options)
    },
    async withBytes(bytes) {
      const read = (response: Response) => readOutcome(response, true, options)
      return awaitAnswer(context, await postBytes(context, request, bytes, options, read), true, options)
    },
  })
}

/** Polls for a pending result. Its fetch is free, so the cost of the request is that of the purchase. */
async function awaitAnswer(
  context: Context,
  outcome: ResultOutcome,
  isUploaded: boolean,
  options: SegmentOptions,
): Promise<SegmentAnswer> {
  if ('answer' in outcome) return outcome.answer
  const answer = await pollResult(context, outcome, isUploaded, options)
  return { ...answer, cost: answer.purchaseCost ?? answer.cost }
}

/** Fetches a quote. Uploads an image that the gateway does not hold: it has no price otherwise. */
export async function quote(
  context: Context,
  image: ImageInput,
  selection: Selection,
  options: RequestOptions,
): Promise<Quote> {
  const request = { path: '/segment/quote', image, fields: toFields(selection) }
  const { reference, bytes } = await sourceOf(context, image, options)
  if (reference !== undefined) {
    const quoted = await postReference(context, request, reference, options, readJson<Quote>)
    if (quoted.refusal?.code !== 'unknown_image' || !bytes) return quoted
  }
  return postBytes(context, request, bytes as Blob, options, readJson<Quote>)
}

/** Segments an image with many selections. Sends the request when the first item is requested. */
export async function* batch(
  context: Context,
  image: ImageInput,
  selections: readonly BatchSelection[],
  options: RequestOptions,
): AsyncGenerator<BatchItem> {
  const fields = { selections: selections.map(({ id, ...selection }) => defined({ id, ...toFields(selection) })) }
  const request = { path: '/segment/batch', image, fields, headers: { accept: 'application/x-ndjson' } }
  const read = (response: Response) => response
  const response = await withReferenceOrBytes(context, request, options, {
    withReference: reference => postReference(context, request, reference, options, read),
    withBytes: bytes => postBytes(context, request, bytes, options, read),
  })
  options.onProgress?.({ phase: 'receiving' })
  yield* readItems(response, selections.length, options.signal)
}

/** Checks whether the gateway holds the image of an id. */
export async function isHeld({ connection }: Context, id: string, options: RequestOptions): Promise<boolean> {
  try {
    return await send(connection, newRequest('HEAD', `/images/${encodeURIComponent(id)}`, options), () => true)
  } catch (error) {
    if (error instanceof GatewayProblem && error.status === 404) return false
    throw error
  }
}

interface Attempts<T> {
  withReference(reference: string): Promise<T>
  withBytes(bytes: Blob): Promise<T>
}

/** Sends a reference to the image, then its bytes if the gateway does not hold it. */
async function withReferenceOrBytes<T>(
  context: Context,
  { image }: ImageRequest,
  options: RequestOptions,
  attempts: Attempts<T>,
): Promise<T> {
  const { reference, bytes } = await sourceOf(context, image, options)
  if (reference === undefined) return attempts.withBytes(bytes as Blob)
  try {
    return await attempts.withReference(reference)
  } catch (error) {
    if (!bytes || !(await isImageMissing(context, reference, error, options))) throw error
  }
  return attempts.withBytes(bytes)
}

/**
 * Returns true if a request failed only because the gateway does not hold its image. A request that
 * was accepted (202) before the gateway read the image ends in `unknown_result`. So does a result
 * that was paid and then lost, which another request would buy again. The image tells the two
 * apart.
 */
async function isImageMissing(
  context: Context,
  reference: string,
  error: unknown,
  { signal }: RequestOptions,
): Promise<boolean> {
  if (!(error instanceof GatewayProblem)) return false
  if (error.code === 'unknown_image') return true
  return error.code === 'unknown_result' && !(await isHeld(context, reference, defined({ signal })))
}

function preferHeader({ async: isAsync = false, waitSeconds }: SegmentOptions): Record<string, string> {
  const parts = [...(isAsync ? ['respond-async'] : []), ...(waitSeconds === undefined ? [] : [`wait=${waitSeconds}`])]
  return parts.length === 0 ? {} : { prefer: parts.join(', ') }
}
