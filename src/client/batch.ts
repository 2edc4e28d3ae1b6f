import { type Frame, toFrame } from './answer.js'
import type { MaskFacts, Outline, OutlineFeature, Rle, BatchItem as WireItem } from './api.js'
import { defined } from './defined.js'
import { GatewayProblem, toGatewayProblem } from './problem.js'

/**
 * The outcome of one selection of a batch: `bytes`, the `output` that was asked for, or `problem`.
 */
export interface BatchItem {
  /** Position among the selections, from 0. */
  index: number
  /** The id given with the selection. */
  id?: string
  status: number
  bytes?: Uint8Array<ArrayBuffer>
  contentType?: string
  rle?: Rle
  polygon?: Outline
  geojson?: OutlineFeature
  yolo?: string
  cache?: NonNullable<WireItem['cache']>
  /** Credits charged for this selection. */
  cost: number
  resultId?: string
  frame?: Frame
  mask?: MaskFacts
  problem?: GatewayProblem
}

/**
 * Reads items as they arrive. Throws `incomplete_answer` if there are fewer than `expected`, or the
 * reason of the aborted signal.
 */
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
  if (seen.size < expected) throw incompleteAnswer(response, `${seen.size} of ${expected}`, cause)
}

function incompleteAnswer({ status, headers }: Response, share: string, cause: unknown): GatewayProblem {
  return new GatewayProblem(`The response ended after ${share} selections. Request the missing ones again.`, {
    code: 'incomplete_answer',
    status,
    retryable: true,
    billed: 'unknown',
    cause,
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
    // A caller that leaves the loop ends the request, so the gateway starts no further selection.
    await reader?.cancel().catch(() => {})
  }
}

function toItem(item: WireItem): BatchItem {
  const { index, id, status, image, cache, costCredits, resultId, contentType, mask, problem } = item
  const { rle, polygon, geojson, yolo, width, height, orientation } = item
  const frame = toFrame(width, height, orientation)
  const bytes = image === undefined ? undefined : Uint8Array.from(atob(image), character => character.charCodeAt(0))
  return {
    index,
    status,
    cost: costCredits,
    ...defined({ id, bytes, rle, polygon, geojson, yolo, cache, resultId, contentType, mask, frame }),
    ...(problem !== undefined && { problem: toGatewayProblem(problem) }),
  }
}
