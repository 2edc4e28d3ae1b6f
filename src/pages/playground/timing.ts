/** A step of a request, and its part of the whole. */
export interface Step {
  name: string
  label: string
  ms: number
  /** From 0 to 1; all steps are 1. */
  share: number
}

const LABELS: Readonly<Record<string, string>> = {
  upload: 'received by the gateway',
  cache: 'looked up in the cache',
  queue: 'waited for its turn',
  upstream: 'segmented',
  network: 'network and the rest',
}

/** Where the time of a request went: the gateway's steps, and what remains of what the browser measured. Steps of no time are left out. */
export function stepsOf(timing: Readonly<Record<string, number>>, elapsedMs: number): Step[] {
  const atGateway = Object.values(timing).reduce((sum, ms) => sum + ms, 0)
  const all = { ...timing, network: Math.max(0, elapsedMs - atGateway) }
  const wholeMs = Math.max(atGateway, elapsedMs)
  return Object.entries(all)
    .filter(([, ms]) => ms >= 0.05)
    .map(([name, ms]) => ({ name, label: LABELS[name] ?? name, ms, share: ms / wholeMs }))
}

/** `0.4 ms`, `35 ms`, `1.2 s`. */
export function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`
  return `${ms >= 10 ? Math.round(ms) : Number(ms.toFixed(1))} ms`
}
