import { existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isSettingsError, loadSettings, loadSlices, type Settings, teamsFile } from '../config/index.js'
import { witnessFile } from '../credits/wholeness/witness-file.js'
import { parseTeams } from '../teams/teams-file.js'
import type { CliIo } from './io.js'

export const help = `Checks the settings, the teams file and the store

segmind-gateway check
    Prints all problems on stderr and exits with 1, or exits with 0. Starts nothing, and may run beside a gateway.
    Connects to Redis and writes one record, or checks the folder of the embedded store. There it creates no file
    but ledger.mdb-lock and ledger.mdb-open-lock.`

/** `segmind-gateway check`. */
export async function run(args: string[], io: CliIo): Promise<number> {
  parseArgs({ args, options: {} })
  const settings = checkSettings(io.env)
  const teams = checkTeams(io.env)
  for (const warning of settings.warnings) io.stderr(`warning: ${warning}`)
  const problems = [...settings.problems, ...teams.problems, ...(await checkStore(io))]
  for (const problem of problems) io.stderr(problem)
  if (problems.length > 0) io.stderr(`${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`)
  else io.stdout(`ok: settings; ${teams.summary}`)
  return problems.length > 0 ? 1 : 0
}

function checkSettings(env: NodeJS.ProcessEnv): { problems: readonly string[]; warnings: Settings['warnings'] } {
  try {
    return { problems: [], warnings: loadSettings(env).warnings }
  } catch (error) {
    if (isSettingsError(error)) return { problems: error.problems, warnings: [] }
    throw error
  }
}

/** Returns nothing when the settings of the store are invalid, which `checkSettings` reports. */
async function checkStore(io: CliIo): Promise<string[]> {
  try {
    const { store } = loadSlices(io.env, ['store'])
    const { placeOf, probeStore } = await import('../store/open-store.js')
    const onWarning = (text: string) => io.stderr(`warning: REDIS_URL: ${text}`)
    const problem = await probeStore(store, witnessFile(placeOf(store)).read(), onWarning)
    return problem === undefined ? [] : [`${store.redisUrl ? 'REDIS_URL' : 'DATA_DIR'}: ${problem}`]
  } catch (error) {
    if (isSettingsError(error)) return []
    throw error
  }
}

function checkTeams(env: NodeJS.ProcessEnv): { problems: string[]; summary: string } {
  const teamsPath = teamsPathOf(env)
  if (!teamsPath) return { problems: [], summary: '' }
  const { file, isDefaultFile } = teamsPath
  if (isDefaultFile && !existsSync(file)) return { problems: [], summary: 'no teams file yet' }
  const parsed = parseFile(file)
  if ('problems' in parsed) return { problems: parsed.problems.map(problem => `${file}: ${problem}`), summary: '' }
  const keys = parsed.teams.flatMap(entry => entry.keys).length
  return { problems: [], summary: `${counted(parsed.teams.length, 'team')} with ${counted(keys, 'key')} in ${file}` }
}

/** Returns `undefined` when the settings of the path are invalid, which `checkSettings` reports. */
function teamsPathOf(env: NodeJS.ProcessEnv): ReturnType<typeof teamsFile> | undefined {
  try {
    return teamsFile(loadSlices(env, ['teams', 'store']))
  } catch (error) {
    if (isSettingsError(error)) return undefined
    throw error
  }
}

function parseFile(file: string): ReturnType<typeof parseTeams> {
  try {
    return parseTeams(readFileSync(file, 'utf8'))
  } catch (error) {
    return { problems: [`cannot be read: ${(error as NodeJS.ErrnoException).code}`] }
  }
}

const counted = (count: number, thing: string) => `${count} ${thing}${count === 1 ? '' : 's'}`
