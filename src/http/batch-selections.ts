import type { FastifyRequest } from 'fastify'
import { ERRORS, GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { type Selection, selectionId } from '../segment/batch.js'
import type { SegmentRequest } from '../segment/question.js'
import type { Wish } from '../segment/shape.js'
import { Story } from '../segment/story.js'
import { askShaped, noteAnswer, type ShapedAnswer } from './answer-question.js'
import { toGatewayError } from './error-handler.js'
import { type Facts, type Finished, type FinishedStory, finishedOf, loggedOf } from './facts.js'
import type { Lane } from './lane.js'

export interface SelectionParts {
  /** A selection of a batch is over; `story` where it may be explained. */
  onSelection(finished: Finished, story?: FinishedStory): void
}

const OK = 200
const SERVER_ERROR = 500

/** The selections of one batch: each is answered and told of as if it were a request of its own, with a line in the log, its error and its story. */
export class BatchSelections {
  readonly #request: FastifyRequest
  readonly #lane: Lane
  readonly #parts: SelectionParts
  /** Of those that were looked for and have to be bought. */
  readonly #open = new Map<number, Facts>()
  #charged: Nanocredits = 0

  constructor(request: FastifyRequest, lane: Lane, parts: SelectionParts) {
    this.#request = request
    this.#lane = lane
    this.#parts = parts
  }

  /** Throws what keeps it from being answered. `isGlance`: what is not in the cache is asked for once more, and is not over yet. */
  async ask(
    { index }: Selection,
    question: SegmentRequest,
    { output, isGlance }: Pick<Wish, 'output'> & { isGlance: boolean },
  ): Promise<ShapedAnswer> {
    const facts = this.#open.get(index) ?? this.#begin()
    const { story } = facts
    try {
      const asked = { ...question, ...(story && { story }) }
      const answer = (await askShaped(asked, output, this.#lane, facts)) as ShapedAnswer
      noteAnswer(facts, answer)
      facts.resultId = answer.shaped.key
      this.#end(index, facts, OK)
      return answer
    } catch (error) {
      if (isGlance && error instanceof GatewayError && error.code === 'not_cached') this.#open.set(index, facts)
      else this.#fail(index, facts, toGatewayError(error))
      throw error
    }
  }

  /** One that says something wrong, and is asked nowhere. */
  refused({ index }: Selection, error: GatewayError): void {
    this.#fail(index, this.#begin(), error)
  }

  /** Of the batch they have its caller and its trace. */
  #begin(): Facts {
    const { caller, trace, address } = this.#request.facts
    return {
      ...{ startedAt: performance.now(), address, uploadBytes: 0, upstreamMs: 0 },
      ...(caller && { caller }),
      ...(trace && { trace }),
      ...(!this.#lane.isTest && { story: new Story() }),
    }
  }

  #fail(index: number, facts: Facts, error: GatewayError): void {
    const { status } = ERRORS[error.code]
    facts.error = error.code
    if (status >= SERVER_ERROR && error.cause !== undefined)
      this.#request.log.warn({ selection: index, code: error.code, err: error.cause }, 'selection failed')
    this.#end(index, facts, status)
  }

  #end(index: number, facts: Facts, status: number): void {
    this.#open.delete(index)
    this.#charged += facts.charged ?? 0
    this.#request.facts.charged = this.#charged
    const { finished, story } = finishedOf(this.#request, selectionId(this.#request.id, { index }), {
      ...facts,
      status,
    })
    this.#parts.onSelection({ ...finished, selection: index }, story)
    this.#request.log.info({ selection: index, status, ...loggedOf(facts, finished.durationMs) }, 'selection')
  }
}
