import { join } from 'node:path'
import { givenText, type Problem, readSlices, settingsError } from './read.js'
import { LATER_SETTINGS, SETTINGS, type SliceName, type Slices } from './table.js'
import { suspiciousNames } from './typos.js'

/** What the sandbox answers and charges is kept apart from what is real: it has a store of its own in the one that is named. */
type Loaded = Omit<Slices, 'store'> & { store: Slices['store'] & { isSandbox: boolean } }

/** The gateway's settings, one slice a part. Secrets are wrapped: a settings object may be logged. */
export type Settings = Omit<Loaded, 'mode' | 'teams'> & {
  /** `NODE_ENV=production`. */
  production: boolean
  /** A sandbox is the upstream: asked for by `SANDBOX=true`, or for want of a key: outside production, or where `SANDBOX_URL` names one. */
  sandbox: boolean
  /** The sandbox is not the built-in one but runs there (`SANDBOX_URL`). */
  sandboxUrl: string | undefined
  /** `isDefaultFile`: nobody named the file, it need not exist yet. */
  teams: { file: string; isDefaultFile: boolean; adminKey: Slices['teams']['adminKey'] }
  /** What looks like a mistake but does not stop the gateway: names and advice, never values. */
  warnings: readonly string[]
}

/**
 * Reads all settings of SPEC §9 from `env`, and the files that `NAME_FILE` names.
 * Throws `SettingsError` with every problem together, those between several settings included.
 */
export function loadSettings(env: NodeJS.ProcessEnv): Settings {
  const given = givenText(env)
  const { slices, problems } = readSlices(given, Object.keys(SETTINGS) as SliceName[])
  const isSandbox = usesSandbox(given)
  const all = [...problems, ...laterProblems(given), ...productionProblems(given, isSandbox), ...contradictions(slices)]
  if (all.length > 0) throw settingsError(onePerName(all))
  const { mode, ...parts } = slices
  const sandboxUrl = isSandbox && !('SANDBOX' in given) ? mode.sandboxUrl : undefined
  return {
    ...parts,
    store: { ...slices.store, isSandbox },
    production: mode.environment === 'production',
    sandbox: isSandbox,
    sandboxUrl,
    teams: { ...teamsFile(slices), adminKey: slices.teams.adminKey },
    warnings: warningsOf(given, slices, { isSandbox, sandboxUrl }),
  }
}

/** Reads only some slices, for commands that need no more: a missing Segmind key does not stop `keys list`. Throws `SettingsError`. */
export function loadSlices<S extends SliceName>(env: NodeJS.ProcessEnv, names: readonly S[]): Pick<Loaded, S> {
  const given = givenText(env)
  const { slices, problems } = readSlices(given, names)
  if (problems.length > 0) throw settingsError(problems)
  const { store } = slices as Partial<Slices>
  return { ...slices, ...(store && { store: { ...store, isSandbox: usesSandbox(given) } }) } as Pick<Loaded, S>
}

/** Where the teams file is: `TEAMS_FILE`, else `teams.yaml` in `DATA_DIR`. */
export function teamsFile({ teams, store }: Pick<Slices, 'teams' | 'store'>): { file: string; isDefaultFile: boolean } {
  return { file: teams.file ?? join(store.dataDir, 'teams.yaml'), isDefaultFile: teams.file === undefined }
}

const hasKey = (given: Record<string, string>) => 'SEGMIND_API_KEY' in given || 'SEGMIND_API_KEY_FILE' in given

/** An unreadable `SANDBOX` counts as not set here: it is a problem of its own already. */
function usesSandbox(given: Record<string, string>): boolean {
  const asked = SETTINGS.mode.sandbox.form.read(given.SANDBOX ?? '')
  return asked ?? (!hasKey(given) && (given.NODE_ENV !== 'production' || 'SANDBOX_URL' in given))
}

function laterProblems(given: Record<string, string>): Problem[] {
  return LATER_SETTINGS.filter(({ name, form, default: written }) => {
    const text = given[name]
    return text !== undefined && (written === undefined || form.read(text) !== form.read(written))
  }).map(({ name, default: written }) => ({
    name,
    needed: `${written === undefined ? 'this setting' : `a value other than ${written}`} is not supported by this version`,
  }))
}

function productionProblems(given: Record<string, string>, isSandbox: boolean): Problem[] {
  const problems: Problem[] = []
  if (isSandbox && hasKey(given)) problems.push({ name: 'SANDBOX', needed: 'not true together with SEGMIND_API_KEY' })
  if (isSandbox) return problems
  const why =
    given.NODE_ENV === 'production'
      ? 'needed in production, unless SANDBOX=true or SANDBOX_URL is set'
      : 'needed with SANDBOX=false'
  if (!hasKey(given)) problems.push({ name: 'SEGMIND_API_KEY', needed: `${why} (or SEGMIND_API_KEY_FILE)` })
  if (given.NODE_ENV === 'production' && !('TEAMS_FILE' in given)) problems.push({ name: 'TEAMS_FILE', needed: why })
  return problems
}

/** Values that are fine alone and not together; a value with a problem of its own is `undefined` here and contradicts nothing. */
function contradictions({ server, images, upload }: Slices): Problem[] {
  const problems: Problem[] = []
  if (server.port > 0 && server.port === server.metricsPort) {
    problems.push({ name: 'METRICS_PORT', needed: 'another port than PORT' })
  }
  if (upload.memoryBytes < images.maxBytes) {
    problems.push({ name: 'UPLOAD_MEMORY_BYTES', needed: 'at least MAX_IMAGE_BYTES' })
  }
  return problems
}

function onePerName(problems: readonly Problem[]): Problem[] {
  return problems.filter((problem, index) => problems.findIndex(({ name }) => name === problem.name) === index)
}

const SHORT_KEY = 16

function warningsOf(
  given: Record<string, string>,
  slices: Slices,
  { isSandbox, sandboxUrl }: Pick<Settings, 'sandboxUrl'> & { isSandbox: boolean },
): string[] {
  const { server, segmind, teams } = slices
  const adminKeyLength = teams.adminKey?.reveal().length ?? SHORT_KEY
  const said: [boolean, string][] = [
    [
      isSandbox && segmind.baseUrl !== SETTINGS.segmind.baseUrl.default,
      'SEGMIND_BASE_URL is not used: the sandbox is the upstream',
    ],
    [sandboxUrl !== undefined, 'There is no SEGMIND_API_KEY: the sandbox at SANDBOX_URL is the upstream'],
    [adminKeyLength < SHORT_KEY, `ADMIN_KEY is shorter than ${SHORT_KEY} characters and may be guessed`],
    [
      server.shutdownTimeoutMs < segmind.timeoutMs,
      'SHUTDOWN_TIMEOUT_MS is less than SEGMIND_TIMEOUT_MS: a stop may cut off paid calls',
    ],
  ]
  return [...said.filter(([applies]) => applies).map(([, text]) => text), ...suspiciousNames(given)]
}
