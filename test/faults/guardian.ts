import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Sees to it that nothing of a run is left, however the harness ends: it notices when the pipe from this process breaks. */
export interface Guardian {
  watch(pid: number): void
  forget(pid: number): void
  /** Kills what is watched still and removes the folder. */
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
# Who is being killed may still write.
rm -rf "$0" 2> /dev/null || { sleep 1; rm -rf "$0"; }
`

export function guard(dir: string): Guardian {
  const child = spawn('sh', ['-c', SCRIPT, dir], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  const exited = once(child, 'exit')
  // It ends by itself; nobody has to stay for it.
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
