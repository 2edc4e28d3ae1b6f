import type { Settings } from '../config/index.js'
import type { Store } from '../contracts/store.js'

/** Environment and output of a command. Lines have no line break. */
export interface CliIo {
  env: NodeJS.ProcessEnv
  stdout(line: string): void
  stderr(line: string): void
}

/** Opens the store that the settings name. */
export type OpenStore = (settings: Pick<Settings, 'store'>) => Promise<Store>

/** One command of the command line. */
export interface Command {
  /** Text of `--help`. The first line is the summary in the list of commands. */
  help: string
  /** Returns the exit code. A rejection is printed on stderr. */
  run(args: string[], io: CliIo): Promise<number>
}

/** Wrong usage of the command line: exit code 2. */
export type UsageError = Error & { name: 'UsageError' }

export function usageError(message: string): UsageError {
  return Object.assign(new Error(message), { name: 'UsageError' as const })
}

/** Rejects unexpected arguments. */
export function refuseMore(words: readonly string[]): void {
  if (words.length > 0) throw usageError(`unexpected argument: ${words[0]}`)
}
