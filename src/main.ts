#!/usr/bin/env node
import * as check from './cli/check.js'
import { dispatch } from './cli/dispatch.js'
import * as health from './cli/health.js'
import type { CliIo } from './cli/io.js'
import * as keys from './cli/keys.js'
import * as sandbox from './cli/sandbox.js'
import * as serve from './cli/serve.js'
import * as usage from './cli/usage.js'
import { openStore } from './store/open-store.js'

const io: CliIo = {
  env: process.env,
  stdout: line => process.stdout.write(`${line}\n`),
  stderr: line => process.stderr.write(`${line}\n`),
}

const withStore = {
  help: usage.help,
  run: (args: string[], commandIo: CliIo) =>
    usage.run(args, commandIo, async settings => (await openStore(settings)).store),
}

process.exitCode = await dispatch(process.argv.slice(2), io, { serve, keys, check, usage: withStore, health, sandbox })
