import { ERRORS, type ErrorCode, GatewayError } from '../errors.js'
import type { FlightNote, Landing } from '../segment/ports.js'

interface Written {
  error?: { code: ErrorCode; detail: string; retryAfterSeconds?: number }
  openJob?: FlightNote
}

/** Writes down how a flight ended, for followers in other processes: without causes, headers and charges, which are the leader's. */
export function writeLanding({ error, openJob }: Landing): string {
  const written: Written = {
    ...(error && { error: { code: error.code, detail: error.message, ...retryAfter(error.retryAfterSeconds) } }),
    ...(openJob && { openJob }),
  }
  return JSON.stringify(written)
}

/** Reads it again. What another version wrote, and this one does not know, says nothing. */
export function readLanding(text: string): Landing {
  const { error, openJob } = parse<Written>(text)
  return {
    ...(error &&
      error.code in ERRORS && {
        error: new GatewayError(error.code, error.detail, retryAfter(error.retryAfterSeconds)),
      }),
    ...(openJob && { openJob }),
  }
}

export function writeNote(note: FlightNote): string {
  return JSON.stringify(note)
}

export function readNote(text: string): FlightNote {
  return { callId: '', at: 0, team: '', scope: '', ...parse<FlightNote>(text) }
}

function retryAfter(seconds: number | undefined): { retryAfterSeconds?: number } {
  return seconds === undefined ? {} : { retryAfterSeconds: seconds }
}

function parse<T>(text: string): Partial<T> {
  try {
    return Object(JSON.parse(text)) as Partial<T>
  } catch {
    return {}
  }
}
