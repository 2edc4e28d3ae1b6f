import { createHash } from 'node:crypto'
import type { HistoryRow } from '../../src/contracts/request-history.js'
import type { RequestHistory } from '../../src/credits/history/ports.js'
import { mergeRows } from '../../src/segmind/wire-history.js'
import type { UpstreamCall } from './history.js'
import type { Plan } from './schedule.js'

const MODEL = 'sam-v2-image'

/** Creates Segmind's request history of a run. Rows contain the image only for even seeds. */
export function requestHistoryOf(
  calls: readonly UpstreamCall[],
  plan: Plan,
  images: readonly Buffer[],
): RequestHistory {
  const planned = ({ index }: UpstreamCall) => plan.rows[index] ?? 'normal'
  let readings = 0
  const rowsNow = () =>
    calls.filter(hasRow).flatMap(call => {
      const kind = planned(call)
      if (kind === 'missing' || (kind === 'late' && readings <= 1)) return []
      const row = rowOf(call, plan, images)
      return kind === 'doubled' ? [row, { ...row }] : [row]
    })
  return {
    async list(since) {
      readings++
      return { rows: mergeRows(rowsNow()).filter(({ at = 0 }) => at >= since), isComplete: true }
    },
    find: async requestId => rowsNow().find(row => row.requestId === requestId),
  }
}

/** A call whose body was not read, or that was refused at the door, has no row. */
export function hasRow({ input, kind }: UpstreamCall): boolean {
  return input !== undefined && kind !== 'reset-before' && kind !== 'busy'
}

function rowOf(
  { requestId, at, isPaid, cost, input = 0 }: UpstreamCall,
  plan: Plan,
  images: readonly Buffer[],
): HistoryRow {
  const end = isPaid ? ({ status: 'completed', cost } as const) : ({ status: 'failed' } as const)
  const image = createHash('sha256')
    .update(images[input] ?? '')
    .digest('hex')
  const params = { prompt: plan.inputs[input]?.prompt ?? '', overlayMask: true }
  return { requestId, model: MODEL, at, ...end, ...(plan.seed % 2 === 0 && { question: { image, params } }) }
}
