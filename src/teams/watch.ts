import { readFile } from 'node:fs/promises'
import type { Team } from '../segment/types.js'
import { createRegistry, type TeamRegistry } from './registry.js'
import { type ParsedTeams, parseTeams } from './teams-file.js'

export interface WatchOptions {
  file: string
  /** How often the file is read; it is small, and reading it works with every kind of mount. Default 1000. */
  intervalMs?: number
  /** Called after each load, the first one included. */
  onLoaded?(teams: readonly Team[]): void
  /** Called once for each bad state of the file; the teams of before stay. */
  onRefused?(problems: readonly string[]): void
  /** For tests. Default: reads the file as UTF-8. */
  read?(file: string): Promise<string>
}

/** A registry that follows its file. */
export type WatchedTeams = TeamRegistry & {
  /** False while the file is not what the registry holds, because it is bad or cannot be read. */
  isOk(): boolean
  /** What is wrong with the file now, line by line. */
  problems(): readonly string[]
  /** Looks at the file now. A change counts once two looks in a row have seen it. */
  look(): Promise<void>
  stop(): void
}

/** Between the look that sees a change and the one that confirms it. */
const CONFIRM_MS = 150

/**
 * Loads the teams file and re-reads it within two seconds of a change. A file that is bad, missing or half written is refused whole.
 * A bad file at start rejects with an `Error` that lists every mistake.
 */
export async function watchTeams(options: WatchOptions): Promise<WatchedTeams> {
  const { file, intervalMs = 1000, onLoaded, onRefused, read = readText } = options
  let used = await sight(file, read)
  const first = teamsIn(used)
  if ('problems' in first) throw new Error([`${file}:`, ...first.problems].join('\n  '))
  let registry = createRegistry(first.teams)
  let problems: readonly string[] = []
  let unconfirmed: Sight | undefined
  let isStopped = false
  onLoaded?.(registry.teams())

  /** A writer without rename leaves the file cut off for a moment, maybe at the end of a line, where it is still good YAML. */
  async function look(): Promise<void> {
    const seen = await sight(file, read)
    const isConfirmed = isSame(seen, unconfirmed)
    unconfirmed = isSame(seen, used) || isConfirmed ? undefined : seen
    if (isConfirmed && !isStopped) use(seen)
  }

  function use(seen: Sight): void {
    used = seen
    const found = teamsIn(seen)
    if ('teams' in found) {
      registry = createRegistry(found.teams)
      problems = []
      onLoaded?.(registry.teams())
    } else {
      problems = found.problems
      onRefused?.(problems)
    }
  }

  let timer = setTimeout(tick, intervalMs).unref()
  async function tick(): Promise<void> {
    await look()
    if (!isStopped) timer = setTimeout(tick, unconfirmed === undefined ? intervalMs : CONFIRM_MS).unref()
  }

  return {
    authenticate: (keyText, nowMs) => registry.authenticate(keyText, nowMs),
    teams: nowMs => registry.teams(nowMs),
    keys: () => registry.keys(),
    isOk: () => problems.length === 0,
    problems: () => problems,
    look,
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

/** What a look found: the file's text, or why it could not be read. */
type Sight = { text: string } | { failure: string }

async function sight(file: string, read: (file: string) => Promise<string>): Promise<Sight> {
  try {
    return { text: await read(file) }
  } catch (error) {
    return { failure: (error as NodeJS.ErrnoException).code ?? 'unknown error' }
  }
}

function isSame(one: Sight, other: Sight | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function teamsIn(seen: Sight): ParsedTeams {
  return 'text' in seen ? parseTeams(seen.text) : { problems: [`the file cannot be read: ${seen.failure}`] }
}

const readText = (file: string) => readFile(file, 'utf8')
