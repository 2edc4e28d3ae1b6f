#!/usr/bin/env node
import * as check from './cli/check.js'
import { dispatch } from './cli/dispatch.js'
import * as health from './cli/health.js'
import type { CliIo, Command } from './cli/io.js'
import * as keys from './cli/keys.js'
import { sandbox } from './cli/sandbox.js'
import * as serve from './cli/serve.js'
import * as usage from './cli/usage.js'
import { openStore } from './store/open-store.js'

const io: CliIo = {
  env: process.env,
  stdout: line => process.stdout.write(`${line}\n`),
  stderr: line => process.stderr.write(`${line}\n`),
}

const commands: Record<string, Command> = {
  serve,
  keys,
  check,
  usage: {
    help: usage.help,
    run: (args, commandIo) => usage.run(args, commandIo, async settings => (await openStore(settings.store)).store),
  },
  health,
  sandbox: {
    help: `Runs the built-in stand-in for Segmind alone

segmind-gateway sandbox [--host 127.0.0.1] [--port 9000] [--key SG_…] [--latency ms] [--credits n]
    Prints its address and its key; ends with SIGINT or SIGTERM. docs/sandbox.md has what it does on request.`,
    run: sandbox,
  },
}

process.exitCode = await dispatch(process.argv.slice(2), io, commands)
