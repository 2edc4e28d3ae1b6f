/** What a command meets of the outside: tests pass their own. Lines come without their line break. */
export interface CliIo {
  env: NodeJS.ProcessEnv
  stdout(line: string): void
  stderr(line: string): void
}

/** One command of the command line. */
export interface Command {
  /** What `--help` prints; its first line is the summary in the list of commands. */
  help: string
  /** Answers the exit code. May reject with what `saidAs` knows how to say. */
  run(args: string[], io: CliIo): Promise<number>
}

/** The command line itself is wrong: exit code 2. */
export type UsageError = Error & { name: 'UsageError' }

export function usageError(message: string): UsageError {
  return Object.assign(new Error(message), { name: 'UsageError' as const })
}

/** Refuses whatever words a command does not take. */
export function refuseMore(words: readonly string[]): void {
  if (words.length > 0) throw usageError(`unexpected argument: ${words[0]}`)
}
