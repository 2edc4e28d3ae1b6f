import { join } from 'node:path'
import { LATER_SETTINGS } from './later-settings.js'
import { givenText, readSlices, type SettingProblem, settingsError } from './read.js'
import { SETTINGS, type SliceName, type Slices } from './table.js'
import { suspiciousNames } from './typos.js'

/**
 * `isSandbox` selects a separate part of the store, so that sandbox results and charges never mix
 * with paid ones.
 */
type Loaded = Omit<Slices, 'store'> & { store: Slices['store'] & { isSandbox: boolean } }

/**
 * The gateway's settings, in one slice for each part. Secrets are wrapped, so a settings object may
 * be logged.
 */
export type Settings = Omit<Loaded, 'mode' | 'teams'> & {
  /** `NODE_ENV=production`. */
  production: boolean
  /**
   * The upstream is a sandbox: `SANDBOX=true`, or no key and either not production or a
   * `SANDBOX_URL`.
   */
  sandbox: boolean
  /** URL of a separate sandbox (`SANDBOX_URL`). Undefined for the built-in one. */
  sandboxUrl: string | undefined
  /** `isDefaultFile`: `TEAMS_FILE` is not set, so the file may not exist yet. */
  teams: { file: string; isDefaultFile: boolean; adminKey: Slices['teams']['adminKey'] }
  /** Likely mistakes that do not stop the gateway: names and advice, never values. */
  warnings: readonly string[]
}

/**
 * Reads all settings (docs/reference.md, Settings) from `env` and from the files that `NAME_FILE`
 * names. Throws `SettingsError` with all problems, including those between settings.
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

/**
 * Reads some slices only, so that a missing Segmind key does not stop `keys list`. Throws
 * `SettingsError`.
 */
export function loadSlices<S extends SliceName>(env: NodeJS.ProcessEnv, names: readonly S[]): Pick<Loaded, S> {
  const given = givenText(env)
  const { slices, problems } = readSlices(given, names)
  if (problems.length > 0) throw settingsError(problems)
  const { store } = slices as Partial<Slices>
  return { ...slices, ...(store && { store: { ...store, isSandbox: usesSandbox(given) } }) } as Pick<Loaded, S>
}

/** Returns the path of the teams file: `TEAMS_FILE`, else `teams.yaml` in `DATA_DIR`. */
export function teamsFile({ teams, store }: Pick<Slices, 'teams' | 'store'>): { file: string; isDefaultFile: boolean } {
  return { file: teams.file ?? join(store.dataDir, 'teams.yaml'), isDefaultFile: teams.file === undefined }
}

const hasKey = (given: Record<string, string>) => 'SEGMIND_API_KEY' in given || 'SEGMIND_API_KEY_FILE' in given

/** An invalid `SANDBOX` counts as not set here; it is reported as a problem elsewhere. */
function usesSandbox(given: Record<string, string>): boolean {
  const explicit = SETTINGS.mode.sandbox.form.read(given.SANDBOX ?? '')
  return explicit ?? (!hasKey(given) && (given.NODE_ENV !== 'production' || 'SANDBOX_URL' in given))
}

function laterProblems(given: Record<string, string>): SettingProblem[] {
  return LATER_SETTINGS.filter(({ name, form, default: written }) => {
    const text = given[name]
    return text !== undefined && (written === undefined || form.read(text) !== form.read(written))
  }).map(({ name, default: written }) => ({
    name,
    needed: `${written === undefined ? 'this setting' : `a value other than ${written}`} is not supported by this version`,
  }))
}

function productionProblems(given: Record<string, string>, isSandbox: boolean): SettingProblem[] {
  const problems: SettingProblem[] = []
  if (isSandbox && hasKey(given))
    problems.push({ name: 'SANDBOX', needed: 'must not be true together with SEGMIND_API_KEY' })
  if (isSandbox) return problems
  const reason =
    given.NODE_ENV === 'production'
      ? 'required in production, unless SANDBOX=true or SANDBOX_URL is set'
      : 'required with SANDBOX=false'
  if (!hasKey(given)) problems.push({ name: 'SEGMIND_API_KEY', needed: `${reason} (or SEGMIND_API_KEY_FILE)` })
  if (given.NODE_ENV === 'production' && !('TEAMS_FILE' in given)) problems.push({ name: 'TEAMS_FILE', needed: reason })
  return problems
}

/**
 * Finds values that are valid alone but not together. An invalid value is `undefined` here and
 * causes no further problem.
 */
function contradictions({ server, images, upload }: Slices): SettingProblem[] {
  const problems: SettingProblem[] = []
  if (server.port > 0 && server.port === server.metricsPort) {
    problems.push({ name: 'METRICS_PORT', needed: 'a port other than PORT' })
  }
  if (upload.memoryBytes < images.maxBytes) {
    problems.push({ name: 'UPLOAD_MEMORY_BYTES', needed: 'at least MAX_IMAGE_BYTES' })
  }
  return problems
}

function onePerName(problems: readonly SettingProblem[]): SettingProblem[] {
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
  const warnings: [boolean, string][] = [
    [
      isSandbox && segmind.baseUrl !== SETTINGS.segmind.baseUrl.default,
      'SEGMIND_BASE_URL is ignored, because the upstream is the sandbox',
    ],
    [sandboxUrl !== undefined, 'SEGMIND_API_KEY is not set, so the upstream is the sandbox at SANDBOX_URL'],
    [adminKeyLength < SHORT_KEY, `ADMIN_KEY is shorter than ${SHORT_KEY} characters and can be guessed`],
    [
      server.shutdownTimeoutMs < server.shutdownDelayMs + segmind.timeoutMs,
      'SHUTDOWN_TIMEOUT_MS is less than SHUTDOWN_DELAY_MS plus SEGMIND_TIMEOUT_MS, so a stop can cut off paid calls',
    ],
  ]
  return [...warnings.filter(([applies]) => applies).map(([, text]) => text), ...suspiciousNames(given)]
}
