import { defined } from '../contracts/defined.js'
import type { Bill } from '../segment/ports.js'
import { amountOf, readBill, type WireHeaders } from './wire-response.js'

/** Status or result of a job (docs/segmind.md, Response). */
export interface JobReport {
  status: 'running' | 'completed' | 'failed' | 'unclear'
  /** URL of the picture, as Segmind returned it. */
  output?: string
  bill: Bill
}

const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/

/**
 * Builds the paths of a job's status and result. URLs in responses are not used: they could send
 * the key to another host.
 */
export function jobPaths(jobId: string): { status: string; result: string } {
  const result = `/v2/requests/${encodeURIComponent(jobId)}`
  return { result, status: `${result}/status` }
}

/** Reads the id of a submitted job. Returns `undefined` when it is missing or unsafe in a URL. */
export function readJobId(body: string): string | undefined {
  const { request_id: jobId } = parseObject(body)
  return typeof jobId === 'string' && isJobId(jobId) ? jobId : undefined
}

export function isJobId(text: string): boolean {
  return JOB_ID.test(text)
}

/**
 * Reads a status or result; an unknown status is `unclear`. Cost and balance come from `metrics`,
 * else from the headers.
 */
export function readJob(jobId: string, body: string, headers: WireHeaders): JobReport {
  const { status, output, images, metrics } = parseObject(body)
  const fromMetrics = Object(metrics) as Record<string, unknown>
  const fromHeaders = readBill(headers)
  const cost = amountOf(fromMetrics.cost)
  return {
    status: (typeof status === 'string' && STATUSES[status.toUpperCase()]) || 'unclear',
    ...defined({ output: urlOf(output) ?? urlOf(images) }),
    bill: {
      ...defined({
        cost: cost !== undefined && cost >= 0 ? cost : fromHeaders.cost,
        remaining: amountOf(fromMetrics.remaining_credits) ?? fromHeaders.remaining,
      }),
      upstreamRequestId: jobId,
    },
  }
}

const STATUSES: Readonly<Record<string, JobReport['status']>> = {
  QUEUED: 'running',
  PROCESSING: 'running',
  COMPLETED: 'completed',
  FAILED: 'failed',
}

/** Reads a URL given as text, as an object with `url`, or as the first item of a list of these. */
function urlOf(value: unknown): string | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value
  const text = typeof first === 'object' && first !== null ? (first as { url?: unknown }).url : first
  return typeof text === 'string' && text !== '' ? text : undefined
}

function parseObject(body: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(body)) as Record<string, unknown>
  } catch {
    return {}
  }
}
