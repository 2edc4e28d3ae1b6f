import type { FastifyReply, FastifyRequest } from 'fastify'
import { toCredits } from '../contracts/nanocredits.js'
import { EXTENSION, OUTPUTS_PATH, originOf } from './job-routes.js'
import type { RequestLog, VisibleRequest } from './request-log.js'

export const HISTORY_PATH = '/inference-request/request-history'

const MAX_ROWS = 100

/** Handles the list of the request history (docs/segmind.md, Request history). */
export function handleHistory(log: RequestLog, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const query = request.query as { page?: string; per_page?: string }
  const page = Math.max(1, Number(query.page) || 1)
  const perPage = Math.min(MAX_ROWS, Math.max(1, Number(query.per_page) || 20))
  const rows = log.rows()
  const data = rows.slice((page - 1) * perPage, page * perPage).map(row => toRow(row, originOf(request)))
  return reply.send({ page, per_page: perPage, total: rows.length, data })
}

/** Handles one request of the request history. */
export function handleHistoryOf(log: RequestLog, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { id } = request.params as { id: string }
  const row = log.rows().find(each => each.id === id)
  return row ? reply.send(toRow(row, originOf(request))) : reply.code(404).send({ error: 'Request not found' })
}

function toRow({ id, startedAt, endedAt, cost, outputId, isCostKnown }: VisibleRequest, origin: string) {
  return {
    request_id: id,
    model_name: 'sam-v2-image',
    model_status: cost === undefined ? 'FAILED' : 'COMPLETED',
    credits_deduction: isCostKnown ? toCredits(cost ?? 0) : null,
    generation_url: outputId === undefined ? null : `${origin}${OUTPUTS_PATH}/${outputId}${EXTENSION}`,
    latency_ms: endedAt - startedAt,
    model_created: new Date(startedAt).toISOString(),
  }
}
