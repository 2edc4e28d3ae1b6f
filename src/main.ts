#!/usr/bin/env node
import { existsSync } from 'node:fs'
import * as alerts from './cli/alerts.js'
import * as cache from './cli/cache.js'
import * as check from './cli/check.js'
import { dispatch } from './cli/dispatch.js'
import * as health from './cli/health.js'
import type { CliIo, Command } from './cli/io.js'
import * as keys from './cli/keys.js'
import * as usage from './cli/usage.js'
import * as waste from './cli/waste.js'
import type { Settings } from './config.js'
import type { Store } from './storage.js'

// The settings of a checkout; what the environment has already is not changed.
if (existsSync('.env')) process.loadEnvFile('.env')

const io: CliIo = {
  env: process.env,
  stdout: line => process.stdout.write(`${line}\n`),
  stderr: line => process.stderr.write(`${line}\n`),
}

// What is large to load is loaded when it is run: the container asks `health` every few seconds.
const commands: Record<string, Command> = {
  serve: {
    help: `Runs the gateway

segmind-gateway serve
    Is set up by environment variables (see README.md). Ends with SIGINT or SIGTERM after the paid calls under way;
    a second signal ends it at once.`,
    run: async (args, commandIo) => (await import('./cli/serve.js')).run(args, commandIo),
  },
  keys: { help: keys.help, run: (args, commandIo) => keys.run(args, commandIo, { openStore }) },
  check,
  usage: { help: usage.help, run: (args, commandIo) => usage.run(args, commandIo, openStore) },
  waste: { help: waste.help, run: (args, commandIo) => waste.run(args, commandIo, openStore) },
  cache: { help: cache.help, run: (args, commandIo) => cache.run(args, commandIo, openStore) },
  alerts: { help: alerts.help, run: (args, commandIo) => alerts.run(args, commandIo, { openStore }) },
  health,
  sandbox: {
    help: `Runs the built-in stand-in for Segmind alone

segmind-gateway sandbox [--host 127.0.0.1] [--port 9000] [--key SG_…] [--latency ms] [--credits n]
    Prints its address and its key; ends with SIGINT or SIGTERM. docs/sandbox.md has what it does on request.`,
    run: async (args, commandIo) => (await import('./cli/sandbox.js')).sandbox(args, commandIo),
  },
}

/** Whoever looks into the store, or leaves something there, is told when it is the one for what is pretended. */
async function openStore({ store }: Pick<Settings, 'store'>): Promise<Store> {
  if (store.isSandbox)
    io.stderr(
      'There is no SEGMIND_API_KEY here: this is the store of the sandbox, apart from that of a gateway with a key.',
    )
  const stores = await import('./store/open-store.js')
  return (await stores.openStore(store)).store
}

process.exitCode = await dispatch(process.argv.slice(2), io, commands)
