import { GatewayError } from '../errors.js'
import type { Upstream, UpstreamOutcome } from '../segment/ports.js'
import { Segmenter } from './segmenter.js'
import { failureOf, SLOW, triggerIn, withoutTrigger } from './test-triggers.js'

export interface TestUpstreamOptions {
  /** How much longer a picture takes that is asked for with `test:upstream_slow`. */
  slowMs: number
  wait(ms: number): Promise<void>
}

/** The upstream of test keys: the sandbox's segmenter in this process, without an account, and the failures that are asked for. */
export function createTestUpstream({ slowMs, wait }: TestUpstreamOptions): Upstream & { close(): Promise<void> } {
  const segmenter = new Segmenter()
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
        ...(prompt !== undefined && { prompt: withoutTrigger(prompt) }),
        points: coordinates,
        removed: removeCoordinates,
        overlay: overlayMask,
      })
      if (outcome.kind === 'answered')
        return { kind: 'answered', body: Buffer.from(outcome.jpeg), contentType: 'image/jpeg', bill: {} }
      if (outcome.kind === 'refused') return failed(new GatewayError('upstream_rejected', outcome.message))
      return failed(new GatewayError('upstream_failed', 'The sandbox could not segment this image.'))
    },
    close: () => segmenter.close(),
  }
}

function failed(error: GatewayError): UpstreamOutcome {
  return { kind: 'failed', error, bill: {} }
}
