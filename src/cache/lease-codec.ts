import { defined } from '../contracts/defined.js'
import { type Billed, ERRORS, type ErrorCode, GatewayError } from '../contracts/errors.js'
import type { FlightNote, FlightOutcome } from '../segment/ports.js'

/** A flight's outcome as stored. The member names are part of the stored format. */
interface StoredOutcome {
  error?:
    | {
        code: ErrorCode
        detail: string
        billed?: Billed | undefined
        retryable?: boolean | undefined
        retryAfterSeconds?: number | undefined
      }
    | undefined
  openJob?: FlightNote | undefined
}

/**
 * Encodes a flight's outcome for followers in other processes, without the error's cause and
 * headers.
 */
export function encodeOutcome({ error, openJob }: FlightOutcome): string {
  const { code, message: detail, billed, retryable, retryAfterSeconds } = error ?? {}
  const stored = code && { code, detail: detail ?? '', billed, retryable, retryAfterSeconds }
  return JSON.stringify({ error: stored, openJob } satisfies StoredOutcome)
}

/**
 * Decodes a flight's outcome. Ignores text and error codes of other versions that this one does not
 * know.
 */
export function decodeOutcome(text: string): FlightOutcome {
  const { error, openJob } = parseObject<StoredOutcome>(text)
  return defined({
    error: error && error.code in ERRORS ? toError(error) : undefined,
    openJob,
  })
}

export function decodeNote(text: string): FlightNote {
  return { callId: '', at: 0, team: '', scope: '', ...parseObject<FlightNote>(text) }
}

function toError({
  code,
  detail,
  billed,
  retryable,
  retryAfterSeconds,
}: NonNullable<StoredOutcome['error']>): GatewayError {
  return new GatewayError(code, detail, defined({ billed, retryable, retryAfterSeconds }))
}

function parseObject<T>(text: string): Partial<T> {
  try {
    return Object(JSON.parse(text)) as Partial<T>
  } catch {
    return {}
  }
}
