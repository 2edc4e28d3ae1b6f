import { readFileSync } from 'node:fs'
import { isSettingsError } from '../config.js'
import type { CliIo, Command } from './io.js'

const NAME = 'segmind-gateway'

/**
 * Runs `segmind-gateway <command> …`; `argv` begins with the command. Answers the exit code: 0 done, 1 failed, 2 a mistake in the
 * command line. A failure is said on stderr, never with a stack.
 */
export async function dispatch(
  argv: string[],
  io: CliIo,
  commands: Readonly<Record<string, Command>>,
): Promise<number> {
  const [name = '', ...args] = argv
  if (['--version', '-v', 'version'].includes(name)) return say(io, packageVersion())
  if (['--help', '-h'].includes(name)) return say(io, overview(commands))
  if (name === 'help') return help(args[0], io, commands)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) return unknown(name, io, commands)
  if (wantsHelp(args)) return help(name, io, commands)
  try {
    return await command.run(args, io)
  } catch (error) {
    return failed(error, name, io)
  }
}

function say(io: CliIo, text: string): number {
  for (const line of text.trimEnd().split('\n')) io.stdout(line)
  return 0
}

function help(name: string | undefined, io: CliIo, commands: Readonly<Record<string, Command>>): number {
  if (name === undefined) return say(io, overview(commands))
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  return command ? say(io, command.help) : unknown(name, io, commands)
}

function unknown(name: string, io: CliIo, commands: Readonly<Record<string, Command>>): number {
  const complaint = name === '' ? 'No command was given.' : `There is no command ${JSON.stringify(name)}.`
  for (const line of [complaint, '', ...overview(commands).split('\n')]) io.stderr(line)
  return 2
}

function overview(commands: Readonly<Record<string, Command>>): string {
  const width = Math.max(...Object.keys(commands).map(name => name.length))
  const lines = Object.entries(commands).map(([name, { help }]) => `  ${name.padEnd(width)}  ${help.split('\n', 1)[0]}`)
  return [`Usage: ${NAME} <command> [options]`, '', ...lines, '', `${NAME} <command> --help tells more.`].join('\n')
}

/** What comes behind `--` is no option. */
function wantsHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  const options = end < 0 ? args : args.slice(0, end)
  return options.includes('--help') || options.includes('-h')
}

function failed(error: unknown, name: string, io: CliIo): number {
  const isUsage = isUsageMistake(error)
  const message = error instanceof Error ? error.message : String(error)
  for (const line of message.split('\n')) io.stderr(line)
  if (isUsage && !isSettingsError(error)) io.stderr(`See ${NAME} ${name} --help`)
  return isUsage ? 2 : 1
}

/** Ours, or one of those `parseArgs` of node:util throws. */
function isUsageMistake(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return error.name === 'UsageError' || `${(error as NodeJS.ErrnoException).code}`.startsWith('ERR_PARSE_ARGS')
}

/** The version in the nearest package.json of ours above this file. */
function packageVersion(): string {
  for (let folder = new URL('./', import.meta.url); folder.pathname !== '/'; folder = new URL('../', folder)) {
    try {
      const found = JSON.parse(readFileSync(new URL('package.json', folder), 'utf8')) as {
        name: string
        version: string
      }
      if (found.name === NAME) return found.version
    } catch {
      // No package.json in this folder: look one further up.
    }
  }
  return 'unknown'
}
