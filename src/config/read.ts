import { readFileSync } from 'node:fs'
import type { Setting } from './setting.js'
import { SETTINGS, type SliceName, type Slices } from './table.js'

/** A problem with one setting: its name and the accepted form, never the value. */
export interface SettingProblem {
  name: string
  needed: string
}

/**
 * All problems of the settings. Each item of `problems` is `NAME: accepted form`, without the
 * value.
 */
export type SettingsError = Error & { name: 'SettingsError'; problems: readonly string[] }

export function settingsError(problems: readonly SettingProblem[]): SettingsError {
  const lines = problems.map(problem => `${problem.name}: ${problem.needed}`)
  const error = new Error(`The settings are not valid:\n${lines.map(line => `  ${line}`).join('\n')}`)
  return Object.assign(error, { name: 'SettingsError' as const, problems: lines })
}

export function isSettingsError(error: unknown): error is SettingsError {
  return error instanceof Error && error.name === 'SettingsError'
}

/**
 * Returns the variables that have a value. Empty and blank ones count as not set, because compose
 * files pass them.
 */
export function givenText(env: NodeJS.ProcessEnv): Record<string, string> {
  const given = Object.entries(env).map(([name, text]) => [name, text?.trim() ?? ''] as const)
  return Object.fromEntries(given.filter(([, text]) => text !== ''))
}

/**
 * Reads some slices of the settings. `given` contains only names with a value. Slices with a
 * problem must not be used.
 */
export function readSlices<S extends SliceName>(
  given: Record<string, string>,
  names: readonly S[],
): { slices: Pick<Slices, S>; problems: SettingProblem[] } {
  const table = names.flatMap(slice => settingsOf(slice).map(([member, setting]) => ({ slice, member, setting })))
  const settings = table.map(row => row.setting)
  const fromFiles = readSecretFiles(given, settings)
  const checked = checkTexts({ ...given, ...fromFiles.texts }, settings)
  const slices: Record<string, Record<string, unknown>> = {}
  for (const { slice, member, setting } of table) {
    slices[slice] = { ...slices[slice], [member]: checked.values[setting.name] }
  }
  return { slices: slices as Pick<Slices, S>, problems: [...fromFiles.problems, ...checked.problems] }
}

export function settingsOf(slice: SliceName): [member: string, setting: Setting<unknown>][] {
  return Object.entries<Setting<unknown>>(SETTINGS[slice])
}

/** Reads the secrets that are given by `NAME_FILE`. */
function readSecretFiles(given: Record<string, string>, settings: readonly Setting<unknown>[]) {
  const texts: Record<string, string> = {}
  const problems: SettingProblem[] = []
  for (const { name } of settings.filter(setting => setting.secret)) {
    const file = given[`${name}_FILE`]
    if (file === undefined) continue
    const text = readText(file)
    if (given[name] !== undefined) problems.push({ name, needed: `given either directly or by ${name}_FILE, not both` })
    else if (!text) problems.push({ name: `${name}_FILE`, needed: 'the path of a readable file that is not empty' })
    else texts[name] = text
  }
  return { texts, problems }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Applies defaults, parses every text and collects the problems. */
function checkTexts(texts: Record<string, string>, settings: readonly Setting<unknown>[]) {
  const values: Record<string, unknown> = {}
  const problems: SettingProblem[] = []
  for (const { name, form, default: written } of settings) {
    const text = texts[name] ?? written
    if (text === undefined) continue
    const value = form.read(text)
    if (value === undefined) problems.push({ name, needed: form.accepts })
    else values[name] = value
  }
  return { values, problems }
}
