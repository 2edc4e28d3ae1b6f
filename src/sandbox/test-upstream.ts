import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { Upstream, UpstreamOutcome } from '../segment/ports.js'
import { type Segmenter, WorkerSegmenter } from './segmenter.js'
import { failureOf, SLOW, triggerIn, withoutTrigger } from './test-triggers.js'

export interface TestUpstreamOptions {
  /** Additional duration of a segmentation with `test:upstream_slow`. */
  slowMs: number
  wait(ms: number): Promise<void>
  /** Closed together with the upstream. Default: segments the photo in a worker thread. */
  segmenter?: Segmenter | undefined
}

/**
 * Creates the upstream of test keys: segments in this process, without an account, and simulates
 * failures.
 */
export function createTestUpstream({
  slowMs,
  wait,
  segmenter = new WorkerSegmenter(),
}: TestUpstreamOptions): Upstream & { close(): Promise<void> } {
  return {
    admit: () => {},
    resume: async () => failed(new GatewayError('upstream_failed', 'Test keys have no jobs at Segmind.')),
    async segment({ chunks }, params) {
      const trigger = triggerIn(params)
      const failure = trigger === undefined ? undefined : failureOf(trigger)
      if (failure) return failed(failure)
      if (trigger === SLOW) await wait(slowMs)
      const { prompt, coordinates = [], removeCoordinates = [], overlayMask } = params
      const outcome = await segmenter.segment({
        image: Buffer.concat(chunks),
        ...defined({ prompt: prompt === undefined ? undefined : withoutTrigger(prompt) }),
        points: coordinates,
        removed: removeCoordinates,
        overlay: overlayMask,
      })
      if (outcome.kind === 'answered') {
        const { jpeg, width, height } = outcome
        return { ...PICTURE, body: Buffer.from(jpeg), size: { width, height } }
      }
      if (outcome.kind === 'refused') return failed(new GatewayError('upstream_rejected', outcome.message))
      return failed(new GatewayError('upstream_failed', 'The sandbox could not segment this image.'))
    },
    close: () => segmenter.close(),
  }
}

const PICTURE = { kind: 'answered', contentType: 'image/jpeg', bill: {} } as const

function failed(error: GatewayError): UpstreamOutcome {
  return { kind: 'failed', error, bill: {} }
}
