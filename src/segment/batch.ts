import { GatewayError } from '../errors.js'
import { canonicalParams } from './cache-key.js'
import { describeKind, describeNames } from './describe.js'
import { type ParsedFields, parseParams } from './params.js'
import type { SegmentRequest } from './question.js'
import type { FormFields } from './upload.js'

/** One of the things to select in one image. */
export interface Selection {
  /** Its place in the request, from 0. */
  index: number
  /** The caller's own name for it. */
  id?: string
  /** What is asked; nothing where it is wrong. */
  parsed?: ParsedFields
  refusal?: GatewayError
}

/** One selection, answered. */
export interface BatchItem<T> {
  selection: Selection
  answer?: T
  error?: unknown
}

const MAX_SELECTIONS = 100
const MAX_ID_CHARACTERS = 100
const FIELDS = ['id', 'prompt', 'coordinates', 'remove_coordinates', 'overlay_mask', 'output'] as const

/**
 * Reads the selections of a batch: a list, or JSON text that holds one. What is wrong with one of them is its own failure; throws `missing_selection`,
 * `invalid_parameter` for what is no list of 1–100 objects. `overlay_mask` and `output` of the request are the defaults of all.
 */
export function parseSelections({ selections, ...defaults }: FormFields): Selection[] {
  const list = typeof selections === 'string' ? parseText(selections) : selections
  if (list === undefined)
    throw new GatewayError('missing_selection', 'selections is required: a list of what to select in the image.')
  if (!Array.isArray(list)) throw refuse(`it was ${describeKind(list)}`)
  if (list.length === 0 || list.length > MAX_SELECTIONS) throw refuse(`there were ${list.length}`)
  return list.map((item: unknown, index) => parseSelection(item, index, defaults))
}

function parseText(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('it was no JSON')
  }
}

function parseSelection(item: unknown, index: number, defaults: FormFields): Selection {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) {
    const detail = `Selection ${index + 1} must be an object; it was ${describeKind(item)}.`
    return { index, refusal: new GatewayError('invalid_parameter', detail) }
  }
  const { id: given, ...fields } = item as { id?: unknown }
  const named = typeof given === 'string' && given.length <= MAX_ID_CHARACTERS ? { id: given } : {}
  try {
    if (given !== undefined && named.id === undefined)
      throw new GatewayError('invalid_parameter', `id takes a text of at most ${MAX_ID_CHARACTERS} characters.`)
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

/** A member that is `null` counts as not given. What one selection says of its form replaces both defaults. */
function withDefaults(fields: FormFields, defaults: FormFields): FormFields {
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as FormFields
  const saysForm = given.output !== undefined || given.overlay_mask !== undefined
  return saysForm ? given : { ...defaults, ...given }
}

function refuse(was: string): GatewayError {
  return new GatewayError('invalid_parameter', `selections takes a list of 1–${MAX_SELECTIONS} objects; ${was}.`)
}

/** What is the same for every selection of a batch. */
export type BatchRequest = Omit<SegmentRequest, 'params'>

export interface BatchParts<T> {
  /** How many are asked for at the same time. */
  parallel: number
  ask(question: SegmentRequest, parsed: ParsedFields, selection: Selection): Promise<T>
  /** Whether nobody waits for the rest: what is under way is finished, nothing new is begun. */
  isOver(): boolean
}

/**
 * Answers the selections in the order in which they are done: first what was paid for before, then what has to be bought, some at a time, each through the
 * same queue and budget as any other question. One that fails fails alone.
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
  yield* asTheyEnd(rest, parts, selection => answerItem(request, selection, parts))
}

/** The id by which one selection of a request is told of and found again. */
export function selectionId(requestId: string, { index }: Pick<Selection, 'index'>): string {
  return `${requestId}.${index}`
}

/** What the cache has; nothing where it must be bought, or the caller wants it bought. */
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
  const own =
    idempotencyKey === undefined
      ? {}
      : { idempotencyKey: `${idempotencyKey} ${JSON.stringify(canonicalParams(params))}` }
  const question = { ...request, ...own, requestId: selectionId(request.requestId, selection), params }
  try {
    return { selection, answer: await parts.ask(question, parsed, selection) }
  } catch (error) {
    return { selection, error }
  }
}

/** Runs work on some items at a time, and answers each as it ends. What was begun goes on when nobody listens any more; it never rejects. */
async function* asTheyEnd<I, O>(
  items: readonly I[],
  { parallel, isOver }: { parallel: number; isOver(): boolean },
  work: (item: I) => Promise<O>,
): AsyncGenerator<O> {
  const waiting = [...items]
  const running = new Map<Promise<O>, Promise<[Promise<O>, O]>>()
  for (;;) {
    while (running.size < parallel && waiting.length > 0 && !isOver()) {
      const begun = work(waiting.shift() as I)
      running.set(
        begun,
        begun.then(result => [begun, result]),
      )
    }
    if (running.size === 0) return
    const [done, result] = await Promise.race(running.values())
    running.delete(done)
    yield result
  }
}
