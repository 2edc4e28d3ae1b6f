/** A step of a request. */
export interface Step {
  name: string
  label: string
  ms: number
  /** Share of the total time, 0 to 1. */
  share: number
}

const LABELS: Readonly<Record<string, string>> = {
  upload: 'Upload',
  cache: 'Cache lookup',
  queue: 'Queue',
  upstream: 'Segmind',
  network: 'Network and browser',
}

/** Returns the steps that took time: those of the gateway, and the rest. */
export function stepsOf(timing: Readonly<Record<string, number>>, elapsedMs: number): Step[] {
  const gatewayMs = Object.values(timing).reduce((sum, ms) => sum + ms, 0)
  const steps = { ...timing, network: Math.max(0, elapsedMs - gatewayMs) }
  const totalMs = Math.max(gatewayMs, elapsedMs)
  return Object.entries(steps)
    .filter(([, ms]) => ms >= 0.05)
    .map(([name, ms]) => ({ name, label: LABELS[name] ?? name, ms, share: ms / totalMs }))
}
