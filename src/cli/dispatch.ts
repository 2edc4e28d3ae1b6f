import { readFileSync } from 'node:fs'
import { isSettingsError } from '../config/index.js'
import type { CliIo, Command } from './io.js'

const NAME = 'segmind-gateway'

/**
 * Runs `segmind-gateway <command> …`; `argv` starts with the command. Returns the exit code: 0
 * success, 1 failure, 2 wrong usage. Prints failures on stderr, without a stack trace.
 */
export async function dispatch(
  argv: string[],
  io: CliIo,
  commands: Readonly<Record<string, Command>>,
): Promise<number> {
  const [name = '', ...args] = argv
  if (['--version', '-v', 'version'].includes(name)) return print(io, packageVersion())
  if (['--help', '-h'].includes(name)) return print(io, overview(commands))
  if (name === 'help') return help(args[0], io, commands)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) return unknownCommand(name, io, commands)
  if (wantsHelp(args)) return help(name, io, commands)
  try {
    return await command.run(args, io)
  } catch (error) {
    return failed(error, name, io)
  }
}

function print(io: CliIo, text: string): number {
  for (const line of text.trimEnd().split('\n')) io.stdout(line)
  return 0
}

function help(name: string | undefined, io: CliIo, commands: Readonly<Record<string, Command>>): number {
  if (name === undefined) return print(io, overview(commands))
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  return command ? print(io, command.help) : unknownCommand(name, io, commands)
}

function unknownCommand(name: string, io: CliIo, commands: Readonly<Record<string, Command>>): number {
  const problem = name === '' ? 'No command was given.' : `There is no command ${JSON.stringify(name)}.`
  for (const line of [problem, '', ...overview(commands).split('\n')]) io.stderr(line)
  return 2
}

function overview(commands: Readonly<Record<string, Command>>): string {
  const width = Math.max(...Object.keys(commands).map(name => name.length))
  const lines = Object.entries(commands).map(([name, { help }]) => `  ${name.padEnd(width)}  ${help.split('\n', 1)[0]}`)
  return [`Usage: ${NAME} <command> [options]`, '', ...lines, '', `${NAME} <command> --help shows details.`].join('\n')
}

/** Finds --help among the options, which end at `--`. */
function wantsHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  const options = end < 0 ? args : args.slice(0, end)
  return options.includes('--help') || options.includes('-h')
}

function failed(error: unknown, name: string, io: CliIo): number {
  const isUsage = isUsageError(error)
  const message = error instanceof Error ? error.message : String(error)
  for (const line of message.split('\n')) io.stderr(line)
  if (isUsage && !isSettingsError(error)) io.stderr(`See ${NAME} ${name} --help`)
  return isUsage ? 2 : 1
}

/** Recognises `usageError` and the errors of `parseArgs`. */
function isUsageError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return error.name === 'UsageError' || `${(error as NodeJS.ErrnoException).code}`.startsWith('ERR_PARSE_ARGS')
}

/** Reads the version from the gateway's package.json, in the nearest folder above this file. */
function packageVersion(): string {
  for (let folder = new URL('./', import.meta.url); folder.pathname !== '/'; folder = new URL('../', folder)) {
    try {
      const found = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as {
        name: string
        version: string
      }
      if (found.name === NAME) return found.version
    } catch {
      // No package.json in this folder; try the parent.
    }
  }
  return 'unknown'
}
