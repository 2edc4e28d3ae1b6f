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
    timestamp: createTimestamp(),
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths, censor: '[secret]' },
  }
  return pino(options, destination ?? openStdout())
}

/** Formats times as `pino.stdTimeFunctions.isoTime` does, and each second once. */
function createTimestamp(): () => string {
  let second = Number.NaN
  let text = ''
  return () => {
    const now = Date.now()
    const milliseconds = now % 1000
    if (now - milliseconds !== second) {
      second = now - milliseconds
      text = `,"time":"${new Date(second).toISOString().slice(0, -4)}`
    }
    return `${text}${String(milliseconds).padStart(3, '0')}Z"`
  }
}

/** Longest time until a line is written. */
const BATCH_MS = 10
/** As much as a pipe takes in one piece (`PIPE_BUF` of Linux), so that processes may share one. */
const BATCH_CHARACTERS = 4096

/**
 * Opens stdout for JSON lines. Writes the lines of a few milliseconds together: a write takes more
 * time than the rest of a line. A process that is killed by SIGKILL loses at most these lines.
 */
function openStdout(): DestinationStream {
  const stdout = pino.destination({ sync: true })
  let lines = ''
  let timer: NodeJS.Timeout | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (lines !== '') stdout.write(lines)
    lines = ''
  }
  process.once('exit', flush)
  return {
    write(line) {
      if (lines.length + line.length > BATCH_CHARACTERS) flush()
      lines += line
      timer ??= setTimeout(flush, BATCH_MS)
    },
  }
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
