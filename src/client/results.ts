import { readAnswer, type SegmentAnswer } from './answer.js'
import { retryAfterIn, unreadable } from './problem.js'
import { type Context, outgoing, type RequestOptions } from './request.js'
import { send } from './send.js'

/** What came of a question: its answer, or where the answer will be. */
export type Found = { answer: SegmentAnswer } | { path: string; afterSeconds: number }

const POLL_SECONDS = 2

/** Reads an answer, or that it is on its way (202). Throws `unreadable_answer` for a 202 that says not where. */
export async function readFound(response: Response, isUploaded: boolean, how: RequestOptions): Promise<Found> {
  if (response.status !== 202) {
    how.onProgress?.({ phase: 'receiving' })
    return { answer: await readAnswer(response, isUploaded) }
  }
  await response.body?.cancel()
  const id = response.headers.get('x-result-id')
  // Of the address only what is the gateway's own: the key goes nowhere else, and a proxy may have put its own in front.
  const path = /\/results\/[^/]+$/.exec(response.headers.get('location') ?? '')?.[0] ?? (id && pathOf(id))
  if (!path) throw unreadable(response)
  return { path, afterSeconds: retryAfterIn(response) ?? POLL_SECONDS }
}

/** Asks for a result once. Throws what its purchase failed with, `unknown_result` where there is none. */
export function findResult(
  { connection }: Context,
  path: string,
  isUploaded: boolean,
  how: RequestOptions,
): Promise<Found> {
  const { signal, requestId } = how
  const asked = outgoing('GET', path, { ...(signal && { signal }), ...(requestId !== undefined && { requestId }) })
  return send(connection, asked, response => readFound(response, isUploaded, how))
}

/** Asks for a result that is on its way until it is there, as often as the gateway says. */
export async function untilThere(
  context: Context,
  found: Found,
  isUploaded: boolean,
  how: RequestOptions,
): Promise<SegmentAnswer> {
  let latest = found
  while (!('answer' in latest)) {
    const { path, afterSeconds } = latest
    how.onProgress?.({ phase: 'waiting' })
    how.signal?.throwIfAborted()
    await context.connection.wait(1000 * afterSeconds, how.signal)
    const next = await findResult(context, path, isUploaded, how)
    latest = 'answer' in next ? next : { ...next, path }
  }
  return latest.answer
}

/** Where the result of that id is. */
export function pathOf(id: string): string {
  return `/results/${encodeURIComponent(id)}`
}
