import { readAnswer, type SegmentAnswer } from './answer.js'
import { defined } from './defined.js'
import { readRetryAfter, unreadableAnswer } from './problem.js'
import { type Context, newRequest, type RequestOptions } from './request.js'
import { send } from './send.js'

/** A result, or where and when to poll for it. */
export type ResultOutcome = { answer: SegmentAnswer } | { path: string; afterSeconds: number }

const POLL_SECONDS = 2

/** Reads a result, or the path of a pending one (202). Throws `unreadable_answer`. */
export async function readOutcome(
  response: Response,
  isUploaded: boolean,
  options: RequestOptions,
): Promise<ResultOutcome> {
  if (response.status !== 202) {
    options.onProgress?.({ phase: 'receiving' })
    return { answer: await readAnswer(response, isUploaded) }
  }
  await response.body?.cancel()
  const id = response.headers.get('x-result-id')
  // Only the gateway's part of the URL counts: a proxy may have added a prefix, and the key must
  // not go elsewhere.
  const path = /\/results\/[^/]+$/.exec(response.headers.get('location') ?? '')?.[0] ?? (id && resultPath(id))
  if (!path) throw unreadableAnswer(response)
  return { path, afterSeconds: readRetryAfter(response) ?? POLL_SECONDS }
}

/** Fetches a result once. Throws the error of its purchase, or `unknown_result`. */
export function fetchResult(
  { connection }: Context,
  path: string,
  isUploaded: boolean,
  options: RequestOptions,
): Promise<ResultOutcome> {
  const { signal, requestId } = options
  const request = newRequest('GET', path, defined({ signal, requestId }))
  return send(connection, request, response => readOutcome(response, isUploaded, options))
}

/** Polls for a pending result at the interval that the gateway sets. */
export async function pollResult(
  context: Context,
  outcome: ResultOutcome,
  isUploaded: boolean,
  options: RequestOptions,
): Promise<SegmentAnswer> {
  let latest = outcome
  while (!('answer' in latest)) {
    const { path, afterSeconds } = latest
    options.onProgress?.({ phase: 'waiting' })
    options.signal?.throwIfAborted()
    await context.connection.wait(1000 * afterSeconds, options.signal)
    const next = await fetchResult(context, path, isUploaded, options)
    latest = 'answer' in next ? next : { ...next, path }
  }
  return latest.answer
}

export function resultPath(id: string): string {
  return `/results/${encodeURIComponent(id)}`
}
