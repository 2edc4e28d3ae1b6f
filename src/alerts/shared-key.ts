import type { ErrorCode } from '../errors.js'

/** What Segmind has last made of the shared key. */
export interface SharedKeyWatch {
  /** A request with the key has ended so. */
  answered(code: 'ok' | ErrorCode): void
  state(): 'accepted' | 'refused' | undefined
}

/** Answers that only who has a good key gets. Trouble, limits and silence say nothing about it. */
const ACCEPTED: ReadonlySet<string> = new Set(['ok', 'upstream_rejected', 'credits_exhausted'])

/** Remembers what the last telling answer said; `onChange` is called when that differs from the one before. */
export function watchSharedKey(onChange: (state: 'accepted' | 'refused') => void = () => {}): SharedKeyWatch {
  let state: 'accepted' | 'refused' | undefined
  return {
    answered(code) {
      const seen = code === 'upstream_unauthorized' ? 'refused' : ACCEPTED.has(code) ? 'accepted' : state
      if (seen === state || seen === undefined) return
      state = seen
      onChange(seen)
    },
    state: () => state,
  }
}
