import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import { BROKEN_TEXT, describeKind, describeNames, describeValue } from '../input/describe.js'
import type { FormFields } from '../input/form.js'
import { isOutline, parseOutput } from '../input/output-form.js'
import { type ParsedFields, parseParams } from '../input/params.js'
import { canonicalParams } from './cache-key.js'
import type { SegmentRequest } from './keyed-request.js'

/** One selection of a batch. */
export interface Selection {
  /** Position in the request, from 0. */
  index: number
  /** The caller's own id. */
  id?: string
  /** Absent when the selection is invalid. */
  parsed?: ParsedFields
  refusal?: GatewayError
}

/** Outcome of one selection. */
export interface BatchItem<T> {
  selection: Selection
  answer?: T
  error?: unknown
}

const MAX_SELECTIONS = 100
const MAX_ID_CHARACTERS = 100
const FIELDS = ['id', 'prompt', 'coordinates', 'remove_coordinates', 'overlay_mask', 'output', 'simplify'] as const

/**
 * Parses the selections of a batch: a list, or JSON text of a list. An invalid selection fails
 * alone. Throws `missing_selection`, or `invalid_parameter` for anything but a list of 1–100
 * objects. `overlay_mask`, `output` and `simplify` of the request are the defaults of all
 * selections.
 */
export function parseSelections({ selections, ...defaults }: FormFields): Selection[] {
  const list = typeof selections === 'string' ? parseText(selections) : selections
  if (list === undefined)
    throw new GatewayError(
      'missing_selection',
      'selections is required: a list of 1–100 objects, each with a prompt or coordinates.',
    )
  if (!Array.isArray(list)) throw refuse(`it was ${describeKind(list)}`)
  if (list.length === 0 || list.length > MAX_SELECTIONS) throw refuse(`there were ${list.length}`)
  return list.map((item: unknown, index) => parseSelection(item, index, defaults))
}

function parseText(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('it was not valid JSON')
  }
}

function parseSelection(item: unknown, index: number, defaults: FormFields): Selection {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    const detail = `Selection ${index + 1} must be an object; it was ${describeKind(item)}.`
    return { index, refusal: new GatewayError('invalid_parameter', detail) }
  }
  const { id: given, ...fields } = item as { id?: unknown }
  const named = isSelectionId(given) ? { id: given } : {}
  try {
    if (given !== undefined && named.id === undefined)
      throw new GatewayError(
        'invalid_parameter',
        `id takes text of at most ${MAX_ID_CHARACTERS} characters, without U+FFFD and half surrogate pairs; ` +
          `it was ${describeValue(given)}.`,
      )
    const known: readonly string[] = FIELDS
    const unknown = Object.keys(fields).filter(name => !known.includes(name))
    if (unknown.length > 0) {
      const detail = `The selection has unknown field ${describeNames(unknown)}. Accepted: ${FIELDS.join(', ')}.`
      throw new GatewayError('invalid_request', detail)
    }
    return { index, ...named, parsed: parseParams(withDefaults(fields, defaults), { base64Default: false }) }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return { index, ...named, refusal: error }
  }
}

/** The id becomes a header, which cannot be written of half a surrogate pair. */
function isSelectionId(id: unknown): id is string {
  return typeof id === 'string' && id.length <= MAX_ID_CHARACTERS && !BROKEN_TEXT.test(id)
}

/**
 * Treats `null` as absent. A selection that sets `output` or `overlay_mask` takes neither default,
 * and that of `simplify` only for an outline.
 */
function withDefaults(fields: FormFields, defaults: FormFields): FormFields {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as FormFields
  const setsForm = given.output !== undefined || given.overlay_mask !== undefined
  const { simplify, ...others } = defaults
  const chosen = setsForm ? given : { ...others, ...given }
  return isOutline(parseOutput(chosen.output)) ? { simplify, ...chosen } : chosen
}

function refuse(was: string): GatewayError {
  return new GatewayError('invalid_parameter', `selections takes a list of 1–${MAX_SELECTIONS} objects; ${was}.`)
}

/** The part of the request that all selections of a batch share. */
export type BatchRequest = Omit<SegmentRequest, 'params'>

export interface BatchParts<T> {
  /** Selections in progress at the same time. */
  parallel: number
  ask(request: SegmentRequest, parsed: ParsedFields, selection: Selection): Promise<T>
  /** True once the caller has left: selections in progress finish, and no further one starts. */
  isOver(): boolean
}

/**
 * Answers the selections as each completes: cached ones first, then purchases, a few at a time,
 * each through the same queue and budget as any other request. A selection that fails does not
 * affect the others.
 */
export async function* answerBatch<T>(
  request: BatchRequest,
  selections: readonly Selection[],
  parts: BatchParts<T>,
): AsyncGenerator<BatchItem<T>> {
  const rest: Selection[] = []
  for (const selection of selections) {
    if (parts.isOver()) return
    if (selection.refusal) yield { selection, error: selection.refusal }
    else {
      const item = await answerKnown(request, selection, parts)
      if (item) yield item
      else rest.push(selection)
    }
  }
  yield* mapAsCompleted(rest, parts, selection => answerItem(request, selection, parts))
}

/** Derives the request id of a selection, for the log and for explanations. */
export function selectionId(requestId: string, { index }: Pick<Selection, 'index'>): string {
  return `${requestId}.${index}`
}

/** Answers a selection from the cache; undefined where it has to be bought. */
async function answerKnown<T>(
  request: BatchRequest,
  selection: Selection,
  parts: BatchParts<T>,
): Promise<BatchItem<T> | undefined> {
  const { cache } = request
  if (cache.noCache || cache.noStore) return undefined
  const item = await answerItem({ ...request, cache: { ...cache, onlyIfCached: true } }, selection, parts)
  const isMissing = item.error instanceof GatewayError && item.error.code === 'not_cached'
  return isMissing && !cache.onlyIfCached ? undefined : item
}

async function answerItem<T>(request: BatchRequest, selection: Selection, parts: BatchParts<T>): Promise<BatchItem<T>> {
  const { parsed } = selection
  if (!parsed) return { selection, error: selection.refusal }
  const { params } = parsed
  const { idempotencyKey } = request
  // One key of the caller stands for several requests, so each selection gets a key of its own.
  const ownKey =
    idempotencyKey === undefined ? undefined : `${idempotencyKey} ${JSON.stringify(canonicalParams(params))}`
  const selected = {
    ...request,
    ...defined({ idempotencyKey: ownKey }),
    requestId: selectionId(request.requestId, selection),
    params,
  }
  try {
    return { selection, answer: await parts.ask(selected, parsed, selection) }
  } catch (error) {
    return { selection, error }
  }
}

/**
 * Maps items concurrently and yields each result as it completes. Started work finishes even if the
 * consumer stops. `work` never rejects.
 */
async function* mapAsCompleted<I, O>(
  items: readonly I[],
  { parallel, isOver }: { parallel: number; isOver(): boolean },
  work: (item: I) => Promise<O>,
): AsyncGenerator<O> {
  const waiting = [...items]
  const running = new Map<Promise<O>, Promise<[Promise<O>, O]>>()
  for (;;) {
    while (running.size < parallel && waiting.length > 0 && !isOver()) {
      const started = work(waiting.shift() as I)
      running.set(
        started,
        started.then(result => [started, result]),
      )
    }
    if (running.size === 0) return
    const [done, result] = await Promise.race(running.values())
    running.delete(done)
    yield result
  }
}
