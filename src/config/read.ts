import { readFileSync } from 'node:fs'
import { envSchema } from 'env-schema'
import { SETTINGS, type Setting, type SliceName, type Slices } from './table.js'

/** What is wrong with one setting: its name and what is accepted, never the value. */
export interface Problem {
  name: string
  needed: string
}

/** Every problem of the settings at once; each of `problems` is `NAME: what is accepted`, without the value. */
export type SettingsError = Error & { name: 'SettingsError'; problems: readonly string[] }

export function settingsError(problems: readonly Problem[]): SettingsError {
  const lines = problems.map(problem => `${problem.name}: ${problem.needed}`)
  const error = new Error(`The settings cannot be used:\n${lines.map(line => `  ${line}`).join('\n')}`)
  return Object.assign(error, { name: 'SettingsError' as const, problems: lines })
}

export function isSettingsError(error: unknown): error is SettingsError {
  return error instanceof Error && error.name === 'SettingsError'
}

/** The names that were given a value: empty and blank ones count as not set, since compose files pass those. */
export function givenText(env: NodeJS.ProcessEnv): Record<string, string> {
  const given = Object.entries(env).map(([name, text]) => [name, text?.trim() ?? ''] as const)
  return Object.fromEntries(given.filter(([, text]) => text !== ''))
}

/** Reads some slices of the settings. `given` holds only names with a value; slices with a problem are not to be used. */
export function readSlices<S extends SliceName>(
  given: Record<string, string>,
  names: readonly S[],
): { slices: Pick<Slices, S>; problems: Problem[] } {
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

/** The texts of the secrets that are given by `NAME_FILE`. */
function readSecretFiles(given: Record<string, string>, settings: readonly Setting<unknown>[]) {
  const texts: Record<string, string> = {}
  const problems: Problem[] = []
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

/** Has env-schema put in the defaults, turn every text into its value and collect what is not accepted. */
function checkTexts(texts: Record<string, string>, settings: readonly Setting<unknown>[]) {
  const values: Record<string, unknown> = {}
  const named = Object.fromEntries(settings.map(setting => [setting.name, setting]))
  const read = (name: string, text: string) => {
    const value = named[name]?.form.read(text)
    if (value !== undefined) values[name] = value
    return value !== undefined
  }
  const keyword = { keyword: 'setting', type: 'string', validate: read, errors: false } as const
  try {
    envSchema({
      schema: schemaOf(settings),
      data: texts,
      env: false,
      ajv: { customOptions: ajv => ajv.addKeyword(keyword) },
    })
    return { values, problems: [] }
  } catch (error) {
    return { values, problems: problemsOf(error, named) }
  }
}

function schemaOf(settings: readonly Setting<unknown>[]): object {
  const properties = settings.map(({ name, default: written }) => [
    name,
    { type: 'string', setting: name, ...(written === undefined ? {} : { default: written }) },
  ])
  return { type: 'object', properties: Object.fromEntries(properties) }
}

/** Translates ajv's errors; anything else is a bug and goes on. */
function problemsOf(error: unknown, settings: Record<string, Setting<unknown>>): Problem[] {
  const found = (error as { errors?: { instancePath: string }[] }).errors
  if (!found) throw error
  return found.map(({ instancePath }) => {
    const name = instancePath.slice(1)
    return { name, needed: settings[name]?.form.accepts ?? 'another value' }
  })
}
