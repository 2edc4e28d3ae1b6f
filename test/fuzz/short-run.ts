import { runCases } from './cases.js'

/** Seeds of `npm test`, over all areas together. README.md has the long run. */
const CASES = 2_000

/** Runs the cases of these areas. Returns the failures. */
export async function shortRun(areas: readonly string[]): Promise<string[]> {
  const failures: string[] = []
  await runCases({ from: 1, cases: CASES, areas }, ({ seed, area, problem }) => {
    failures.push(`seed ${seed} (${area}): ${problem}; repeat with node .build/test/fuzz/run.js --seed ${seed}`)
  })
  return failures
}
