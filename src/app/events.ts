import type { EventEmitter } from 'node:events'
import type { FinishedRequest } from '../contracts/records.js'
import type { Story } from '../segment/story.js'

/**
 * Events between parts that do not know each other. Listeners run synchronously and must not throw.
 */
export type GatewayEvents = EventEmitter<{
  /** A request, or one selection of a batch, has ended. */
  requestFinished: [request: FinishedRequest, story: Story | undefined]
  /** An attempt at Segmind ended with `ok` or an error code, this long after it was sent. */
  upstreamAttempted: [attempt: { code: string; durationMs: number }]
  /** The credit state, the balance or the shared key changed, so an alert may be due. */
  accountChanged: []
}>
