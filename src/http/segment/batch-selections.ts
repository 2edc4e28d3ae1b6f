import type { FastifyRequest } from 'fastify'
import { ERRORS, GatewayError } from '../../contracts/errors.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { OutputForm } from '../../input/output-form.js'
import { type Selection, selectionId } from '../../segment/batch.js'
import type { SegmentRequest } from '../../segment/keyed-request.js'
import { Story } from '../../segment/story.js'
import { toGatewayError } from '../server/error-handler.js'
import { logFields, newFacts, type RequestFacts, type RequestObserver, toFinished } from '../server/request-facts.js'
import { recordAnswer, type ShapedAnswer, segmentAndShape } from './answer-request.js'
import type { Mode } from './route-parts.js'

export interface SelectionParts {
  observer: Pick<RequestObserver, 'selectionFinished'>
}

interface SelectionOptions {
  form: OutputForm
  isCacheOnly: boolean
  book(index: number, body: Buffer, isForced: boolean): void
}

const OK = 200
const SERVER_ERROR = 500

/**
 * Answers the selections of one batch. Each gets its own log line, error and story, like a request
 * of its own.
 */
export class BatchSelections {
  readonly #request: FastifyRequest
  readonly #mode: Mode
  readonly #parts: SelectionParts
  /** By index: selections that were not cached and will be bought. */
  readonly #open = new Map<number, RequestFacts>()
  #charged: Nanocredits = 0

  constructor(request: FastifyRequest, mode: Mode, parts: SelectionParts) {
    this.#request = request
    this.#mode = mode
    this.#parts = parts
  }

  /**
   * Throws the selection's error, or that of `book`, which books the answer's body until it is
   * sent. `isCacheOnly`: a selection that is not cached is answered again later and has not ended.
   */
  async answer(
    { index }: Selection,
    request: SegmentRequest,
    { form, isCacheOnly, book }: SelectionOptions,
  ): Promise<ShapedAnswer> {
    const facts = this.#open.get(index) ?? this.#begin()
    try {
      const recorded = { ...request, story: facts.story }
      const answer = (await segmentAndShape(recorded, form, this.#mode, facts)) as ShapedAnswer
      book(index, answer.shaped.result.body, answer.charged > 0)
      recordAnswer(facts, answer)
      facts.resultId = answer.shaped.key
      this.#end(index, facts, OK)
      return answer
    } catch (error) {
      if (isCacheOnly && error instanceof GatewayError && error.code === 'not_cached') this.#open.set(index, facts)
      else this.#fail(index, facts, toGatewayError(error))
      throw error
    }
  }

  /** Ends an invalid selection, which is never answered. */
  refuse({ index }: Selection, error: GatewayError): void {
    this.#fail(index, this.#begin(), error)
  }

  /** Caller and trace are those of the batch. */
  #begin(): RequestFacts {
    const { facts } = this.#request
    const { caller, trace } = facts
    const story = this.#mode.isTest ? undefined : new Story()
    return { ...newFacts(facts), caller, trace, story }
  }

  #fail(index: number, facts: RequestFacts, error: GatewayError): void {
    const { status } = ERRORS[error.code]
    facts.error = error.code
    if (status >= SERVER_ERROR && error.cause !== undefined)
      this.#request.log.warn({ selection: index, code: error.code, err: error.cause }, 'selection failed')
    this.#end(index, facts, status)
  }

  #end(index: number, facts: RequestFacts, status: number): void {
    this.#open.delete(index)
    this.#charged += facts.charged ?? 0
    this.#request.facts.charged = this.#charged
    const requestId = selectionId(this.#request.id, { index })
    const finished = toFinished(this.#request, requestId, facts, status)
    this.#parts.observer.selectionFinished({ ...finished, selection: index }, facts.story)
    this.#request.log.info({ selection: index, status, ...logFields(facts, finished.durationMs) }, 'selection')
  }
}
