import { existsSync } from 'node:fs'
import type { Settings } from '../config/index.js'
import type { Store } from '../contracts/store.js'
import * as alerts from './alerts.js'
import * as cache from './cache.js'
import * as check from './check.js'
import { dispatch } from './dispatch.js'
import * as health from './health.js'
import type { CliIo, Command } from './io.js'
import * as keys from './keys.js'
import * as ledger from './ledger.js'
import * as usage from './usage.js'
import * as waste from './waste.js'

const io: CliIo = {
  env: process.env,
  stdout: line => process.stdout.write(`${line}\n`),
  stderr: line => process.stderr.write(`${line}\n`),
}

// Large modules are loaded on demand, because the container runs `health` every few seconds.
const COMMANDS: Record<string, Command> = {
  serve: {
    help: `Runs the gateway

segmind-gateway serve
    Is configured by environment variables (docs/reference.md). SIGINT or SIGTERM stops it after the paid calls in
    flight; a second signal stops it immediately.`,
    run: async (args, commandIo) => (await import('./serve.js')).run(args, commandIo),
  },
  keys: { help: keys.help, run: (args, commandIo) => keys.run(args, commandIo, { openStore }) },
  check,
  usage: { help: usage.help, run: (args, commandIo) => usage.run(args, commandIo, openStore) },
  ledger: { help: ledger.help, run: (args, commandIo) => ledger.run(args, commandIo, openStore) },
  waste: { help: waste.help, run: (args, commandIo) => waste.run(args, commandIo, openStore) },
  cache: { help: cache.help, run: (args, commandIo) => cache.run(args, commandIo, openStore) },
  alerts: { help: alerts.help, run: (args, commandIo) => alerts.run(args, commandIo, { openStore }) },
  health,
  sandbox: {
    help: `Runs the sandbox as a separate process

segmind-gateway sandbox [--host 127.0.0.1] [--port 9000] [--key SG_…] [--latency ms] [--credits n]
    Prints its URL and its key. Stops on SIGINT or SIGTERM. docs/sandbox.md describes the triggers for tests.`,
    run: async (args, commandIo) => (await import('./sandbox.js')).sandbox(args, commandIo),
  },
}

/** Runs the command line `argv`, without the name of the program. Resolves with the exit code. */
export function runCommandLine(argv: string[]): Promise<number> {
  // Settings of a checkout. Variables that are already set take precedence.
  if (existsSync('.env')) process.loadEnvFile('.env')
  return dispatch(argv, io, COMMANDS)
}

/** Opens the store of a command. Prints a notice when it is the store of the sandbox. */
async function openStore({ store }: Pick<Settings, 'store'>): Promise<Store> {
  if (store.isSandbox)
    io.stderr(
      'SEGMIND_API_KEY is not set, so this is the store of the sandbox. A gateway with a key uses a separate store.',
    )
  const stores = await import('../store/open-store.js')
  return (await stores.openStore(store)).store
}
