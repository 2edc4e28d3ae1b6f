import { type DestinationStream, type Logger, pino } from 'pino'

/** Headers and members that could hold a key, wherever one would be logged by accident. */
const SECRETS = ['authorization', '["x-api-key"]', 'headers.authorization', 'headers["x-api-key"]', 'apiKey', 'key']

export type LogFormat = 'auto' | 'json' | 'pretty'

/**
 * Creates the log: JSON lines with ISO 8601 times, on stdout or `destination`. Keys are masked.
 */
export function createLog(level: string, destination?: DestinationStream): Logger {
  const paths = [...SECRETS, ...SECRETS.map(path => (path.startsWith('[') ? `*${path}` : `*.${path}`))]
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: '[secret]' },
  }
  return destination ? pino(options, destination) : pino(options)
}

/**
 * Opens the destination of `LOG_FORMAT`. Returns undefined for JSON on stdout. `pretty` writes text
 * for people to `output` (default: stdout), and `auto` does so on a terminal.
 */
export async function openLogDestination(
  format: LogFormat,
  { isTerminal = process.stdout.isTTY === true, output }: { isTerminal?: boolean; output?: NodeJS.WritableStream } = {},
): Promise<(DestinationStream & NodeJS.WritableStream) | undefined> {
  if (format === 'json' || (format === 'auto' && !isTerminal)) return undefined
  const { default: pretty } = await import('pino-pretty')
  return pretty({
    ...(output && { destination: output }),
    sync: true,
    colorize: isTerminal,
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
    customPrettifiers: { err: error => describe(error as Partial<LoggedError> | null) },
  })
}

interface LoggedError {
  type: string
  message: string
  stack: string
}

/** Leaves out the stack of an unreachable store: it is not a defect, and an outage logs many. */
function describe(error: Partial<LoggedError> | null): string {
  return (error?.type === 'StoreError' ? error.message : error?.stack) ?? JSON.stringify(error)
}
