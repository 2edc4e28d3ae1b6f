import { readFile } from 'node:fs/promises'
import type { Team } from '../contracts/types.js'
import { createRegistry, type TeamRegistry } from './registry.js'
import { type ParsedTeams, parseTeams } from './teams-file.js'

export interface WatchOptions {
  file: string
  /** Interval between reads. Polling a small file works with every kind of mount. Default 1000. */
  intervalMs?: number
  /** Called after each load, including the first. */
  onLoaded?(teams: readonly Team[]): void
  /** Called once for each invalid state of the file. The previous teams stay in effect. */
  onRefused?(problems: readonly string[]): void
  /** Default: reads the file as UTF-8. */
  read?(file: string): Promise<string>
}

/** A registry that follows its file. */
export type WatchedTeams = TeamRegistry & {
  /** False while the file is invalid or unreadable and the registry holds previous teams. */
  isOk(): boolean
  /** Current problems of the file, one for each line. */
  problems(): readonly string[]
  /** Reads the file now. A change takes effect when two consecutive reads return it. */
  reload(): Promise<void>
  stop(): void
}

/** Interval between the read that finds a change and the second read that confirms it. */
const CONFIRM_MS = 150

/**
 * Loads the teams file and reloads it within two seconds of a change. Rejects an invalid, missing
 * or partly written file as a whole. At start, throws an `Error` that lists every problem of an
 * invalid file.
 */
export async function watchTeams(options: WatchOptions): Promise<WatchedTeams> {
  const { file, intervalMs = 1000, onLoaded, onRefused, read = readText } = options
  let current = await readState(file, read)
  const first = parseState(current)
  if ('problems' in first) throw new Error([`${file}:`, ...first.problems].join('\n  '))
  const registry = createRegistry(first.teams)
  let problems: readonly string[] = []
  let unconfirmed: FileState | undefined
  let isStopped = false
  onLoaded?.(registry.teams())

  /**
   * Two reads must agree: a writer without rename leaves the file truncated for a moment, possibly
   * as valid YAML.
   */
  async function reload(): Promise<void> {
    const state = await readState(file, read)
    const isConfirmed = isEqual(state, unconfirmed)
    unconfirmed = isEqual(state, current) || isConfirmed ? undefined : state
    if (isConfirmed && !isStopped) apply(state)
  }

  function apply(state: FileState): void {
    current = state
    const found = parseState(state)
    if ('teams' in found) {
      registry.replace(found.teams)
      problems = []
      onLoaded?.(registry.teams())
    } else {
      problems = found.problems
      onRefused?.(problems)
    }
  }

  let timer = setTimeout(tick, intervalMs).unref()
  async function tick(): Promise<void> {
    await reload()
    if (!isStopped) timer = setTimeout(tick, unconfirmed === undefined ? intervalMs : CONFIRM_MS).unref()
  }

  return {
    authenticate: registry.authenticate,
    teams: registry.teams,
    keys: registry.keys,
    isOk: () => problems.length === 0,
    problems: () => problems,
    reload,
    stop() {
      isStopped = true
      clearTimeout(timer)
    },
  }
}

/** Result of one read: the text, or the error code. */
type FileState = { text: string } | { failure: string }

async function readState(file: string, read: (file: string) => Promise<string>): Promise<FileState> {
  try {
    return { text: await read(file) }
  } catch (error) {
    return { failure: (error as NodeJS.ErrnoException).code ?? 'unknown error' }
  }
}

function isEqual(one: FileState, other: FileState | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function parseState(state: FileState): ParsedTeams {
  return 'text' in state ? parseTeams(state.text) : { problems: [`the file cannot be read: ${state.failure}`] }
}

const readText = (file: string) => readFile(file, 'utf8')
