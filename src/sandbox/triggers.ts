/** v1: responds with the picture. v2: submit, then poll. */
export type Api = 'v1' | 'v2'

/** Simulated behaviour that a prompt requests (docs/sandbox.md, Triggers). */
export interface Triggers {
  /** Key of `SIMULATED_ERRORS`. */
  status?: string
  /** Delay of the response. */
  delayMs?: number
  /** Breaks the connection instead of a complete response. */
  disruption?: 'cut' | 'hang' | 'reset'
  /** Overrides the requested format of the response. */
  format?: 'garbage' | 'base64-text' | 'data-uri'
  /** Fails the job. */
  fails?: true
  /** Course of its row in the request history. `null`: its cost is null for a minute. */
  row?: 'late' | 'missing' | 'doubled' | 'null'
}

export interface SimulatedError {
  status: number
  /** JSON, or HTML if it begins with `<`. */
  body: unknown
  /** Seconds from now, for `x-rate-limit-reset-at-utc`. */
  resetSeconds?: number
}

/**
 * Documented errors of the upstream (docs/segmind.md, Errors), by the value of `sandbox:status=`.
 */
export const SIMULATED_ERRORS: Readonly<Record<string, SimulatedError>> = {
  '400': { status: 400, body: { error: 'Malformed request body' } },
  '401': { status: 401, body: { error: 'Missing Authorization or x-api-key in header' } },
  '403': { status: 403, body: { error: 'Your team may not use this model' } },
  '404': { status: 404, body: { error: 'Model not found' } },
  '405': { status: 405, body: '<html><body><h1>405 Method Not Allowed</h1></body></html>' },
  '406': { status: 406, body: { error: 'Insufficient credits' } },
  '406-credits': { status: 406, body: { error: 'Insufficient credits' } },
  '406-limit': { status: 406, body: { error: 'The spend limit of this team is reached' } },
  '406-other': { status: 406, body: { error: 'The value of a parameter was rejected' } },
  '410': { status: 410, body: { error: 'This model has been retired' } },
  '422': { status: 422, body: { error: 'Invalid parameters' } },
  '422-detail': { status: 422, body: { detail: 'Invalid parameters' } },
  '429': { status: 429, body: { error: 'Rate limit exceeded' }, resetSeconds: 2 },
  '500': { status: 500, body: { error: 'Internal Polling Error' } },
  '502': { status: 502, body: { error: 'Bad gateway' } },
  '504': { status: 504, body: { error: 'Gateway timeout' } },
}

/** Triggers that exist in one API only. */
const API_OF: Readonly<Record<string, Api>> = { 'base64-text': 'v1', 'data-uri': 'v1', fail: 'v2' }
const MAX_DELAY_MS = 600_000
const TRIGGER = /sandbox:([a-z0-9-]+)(?:=([a-z0-9-]*))?[\s;,]*/gi

/**
 * Separates the triggers from the prompt. Spaces, commas or semicolons may separate several
 * triggers. `prompt` is the remaining text, or `undefined` if none remains. Returns a problem for a
 * trigger that is unknown or not available in this API.
 */
export function readTriggers(
  text: string,
  api: Api = 'v1',
): { prompt: string | undefined; triggers: Triggers } | { problem: string } {
  const triggers: Triggers = {}
  for (const [, name = '', value] of text.matchAll(TRIGGER)) {
    const word = name.toLowerCase()
    const found = (API_OF[word] ?? api) === api && readTrigger(word, value?.toLowerCase())
    if (!found) return { problem: `unknown sandbox trigger "${name}${value === undefined ? '' : `=${value}`}"` }
    Object.assign(triggers, found)
  }
  return { prompt: text.replace(TRIGGER, '').trim() || undefined, triggers }
}

function readTrigger(name: string, value: string | undefined): Triggers | undefined {
  if (name === 'status') return value && Object.hasOwn(SIMULATED_ERRORS, value) ? { status: value } : undefined
  if (name === 'delay') {
    const delayMs = /^\d{1,6}$/.test(value ?? '') ? Number(value) : Number.NaN
    return delayMs <= MAX_DELAY_MS ? { delayMs } : undefined
  }
  if (name === 'row') {
    const row = (['late', 'missing', 'doubled', 'null'] as const).find(each => each === value)
    return row && { row }
  }
  if (value !== undefined) return undefined
  if (name === 'cut' || name === 'hang' || name === 'reset') return { disruption: name }
  if (name === 'fail') return { fails: true }
  if (name === 'garbage' || name === 'base64-text' || name === 'data-uri') return { format: name }
  return undefined
}
