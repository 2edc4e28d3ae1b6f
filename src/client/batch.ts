import type { MaskFacts, Rle, BatchItem as WireItem } from './api.js'
import { GatewayProblem, problemOf } from './problem.js'

/** One selection of a batch, answered: with a picture, a mask in run-length encoding, or the problem it failed with. */
export interface BatchItem {
  /** Its place among the selections, from 0, and the caller's own name for it. */
  index: number
  id?: string
  status: number
  bytes?: Uint8Array<ArrayBuffer>
  contentType?: string
  rle?: Rle
  cache?: NonNullable<WireItem['cache']>
  /** Credits charged for it. */
  cost: number
  resultId?: string
  mask?: MaskFacts
  problem?: GatewayProblem
}

/** Reads items as they arrive. Throws `incomplete_answer` when there are fewer than `expected`, or the signal's reason. */
export async function* readItems(
  response: Response,
  expected: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<BatchItem> {
  const seen = new Set<number>()
  let cause: unknown
  try {
    for await (const line of linesOf(response)) {
      const item = JSON.parse(line) as WireItem
      seen.add(item.index)
      yield toItem(item)
      signal?.throwIfAborted()
    }
  } catch (error) {
    signal?.throwIfAborted()
    cause = error
  }
  if (seen.size < expected) throw incomplete(response, `${seen.size} of ${expected}`, cause)
}

function incomplete({ status, headers }: Response, share: string, cause: unknown): GatewayProblem {
  return new GatewayProblem(`The answer ended after ${share} selections; ask again for the rest.`, {
    ...{ code: 'incomplete_answer', status, retryable: true, billed: 'unknown', cause },
    requestId: headers.get('x-request-id') ?? undefined,
  })
}

async function* linesOf({ body }: Response): AsyncGenerator<string> {
  const reader = body?.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
      rest += decoder.decode(value, { stream: !done })
      const lines = rest.split('\n')
      rest = done ? '' : (lines.pop() ?? '')
      for (const line of lines) if (line.trim() !== '') yield line
      if (done) return
    }
  } finally {
    // Whoever stops listening ends the request: nothing more is begun for it.
    await reader?.cancel().catch(() => {})
  }
}

function toItem({ index, id, status, image, rle, cache, costCredits, resultId, ...others }: WireItem): BatchItem {
  const { contentType, mask, problem } = others
  return {
    ...{ index, status, cost: costCredits },
    ...(id !== undefined && { id }),
    ...(image !== undefined && { bytes: Uint8Array.from(atob(image), character => character.charCodeAt(0)) }),
    ...(rle !== undefined && { rle }),
    ...(cache !== undefined && { cache }),
    ...(resultId !== undefined && { resultId }),
    ...(contentType !== undefined && { contentType }),
    ...(mask !== undefined && { mask }),
    ...(problem !== undefined && { problem: problemOf(problem) }),
  }
}
