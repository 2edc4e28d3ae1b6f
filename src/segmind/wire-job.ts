import type { Bill } from '../segment/ports.js'
import { amountOf, readBill, type WireHeaders } from './wire-money.js'

/** A job as Segmind tells of it (SEGMIND.md, v2 status and result). */
export interface JobReport {
  status: 'running' | 'completed' | 'failed' | 'unclear'
  /** Where the picture lies, as it was said. */
  output?: string
  bill: Bill
}

const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/

/** Where a job's status and its result are asked for: never the addresses in an answer, which could lead the key elsewhere. */
export function jobPaths(jobId: string): { status: string; result: string } {
  const result = `/v2/requests/${encodeURIComponent(jobId)}`
  return { result, status: `${result}/status` }
}

/** The id of a job that was just submitted; nothing where there is none that could be put into an address. */
export function readJobId(body: string): string | undefined {
  const { request_id: jobId } = parseObject(body)
  return typeof jobId === 'string' && isJobId(jobId) ? jobId : undefined
}

export function isJobId(text: string): boolean {
  return JOB_ID.test(text)
}

/** Reads a status or a result; one that says nothing we know is `unclear`. Money is in `metrics`, else in the headers. */
export function readJob(jobId: string, body: string, headers: WireHeaders): JobReport {
  const { status, output, images, metrics } = parseObject(body)
  const place = placeOf(output) ?? placeOf(images)
  const { cost, remaining_credits: left } = Object(metrics) as Record<string, unknown>
  const said = { cost: amountOf(cost), remaining: amountOf(left) }
  const { cost: costHeader, remaining: leftHeader } = readBill(headers)
  const paid = said.cost !== undefined && said.cost >= 0 ? said.cost : costHeader
  const remaining = said.remaining ?? leftHeader
  return {
    status: (typeof status === 'string' && STATUSES[status.toUpperCase()]) || 'unclear',
    ...(place !== undefined && { output: place }),
    bill: {
      ...(paid !== undefined && { cost: paid }),
      ...(remaining !== undefined && { remaining }),
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

/** A URL as text, in an object, or the first of a list of these. */
function placeOf(value: unknown): string | undefined {
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
