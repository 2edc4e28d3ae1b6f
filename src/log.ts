import { type DestinationStream, type Logger, pino } from 'pino'

/** Headers and members that could hold a key, wherever one would be logged by accident. */
const SECRETS = ['authorization', '["x-api-key"]', 'headers.authorization', 'headers["x-api-key"]', 'apiKey', 'key']

/** The log: one JSON line an event, on stdout unless told otherwise; times in ISO 8601, keys masked. */
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
