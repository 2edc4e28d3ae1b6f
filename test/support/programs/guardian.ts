import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Kills processes and removes a folder once this process ends, even by SIGKILL, because its pipe to
 * the guardian breaks.
 */
export interface Guardian {
  watch(pid: number): void
  forget(pid: number): void
  /** Kills every watched process and removes the folder now. */
  clean(): Promise<void>
}

const SCRIPT = `
trap "" INT TERM HUP
pids=" "
while read -r what pid; do
  case $what in
    watch) pids="$pids$pid " ;;
    forget) pids="\${pids%% $pid *} \${pids#* $pid }" ;;
    *) break ;;
  esac
done
[ "$pids" = " " ] || kill -9 $pids 2> /dev/null
[ -n "$0" ] || exit
# A process that is being killed may still write.
rm -rf "$0" 2> /dev/null || { sleep 1; rm -rf "$0"; }
`

/** Starts a guardian. `dir` is the folder to remove at the end. */
export function guard(dir = ''): Guardian {
  const child = spawn('sh', ['-c', SCRIPT, dir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  const exited = once(child, 'exit')
  // This process does not wait for the guardian.
  child.unref()
  child.stdin.on('error', () => {})
  return {
    watch: pid => void child.stdin.write(`watch ${pid}\n`),
    forget: pid => void child.stdin.write(`forget ${pid}\n`),
    async clean() {
      child.ref()
      child.stdin.end('clean\n')
      await exited
    },
  }
}

/** A process that ends with this one at the latest. */
export interface GuardedProcess {
  child: ChildProcess
  /** Resolves with the exit code; null after a signal. */
  exited: Promise<number | null>
  /** Sends the signal and resolves with the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

/**
 * Starts a program that ends with this process, even after SIGKILL. Rejects when it cannot be
 * started.
 */
export async function spawnGuarded(program: string, args: string[], options: SpawnOptions): Promise<GuardedProcess> {
  const child = spawn(program, args, options)
  const closed = once(child, 'exit') as Promise<[code: number | null]>
  await Promise.race([once(child, 'spawn'), closed])
  const pid = child.pid as number
  const guardian = guard()
  guardian.watch(pid)
  const exited = closed.then(async ([code]) => {
    guardian.forget(pid)
    await guardian.clean()
    return code
  })
  return {
    child,
    exited,
    end(signal) {
      child.kill(signal)
      return exited
    },
  }
}
