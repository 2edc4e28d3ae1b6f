/** What the person at the terminal needs to know after a start. */
export interface Started {
  url: string
  metricsUrl: string
  /** Segmind's address; absent where the sandbox stands in. */
  upstreamUrl: string | undefined
  /** Of a sandbox that runs apart. */
  sandboxUrl: string | undefined
  /** Of the team made by the first start; absent where it is gone or the teams are somebody's own. */
  key: string | undefined
  /** A photo of this repository, as a path that works where the command was typed. */
  photo: string
  store: string
  /** Whether there is an `ADMIN_KEY`. */
  hasOperators: boolean
}

const RULE = '─'.repeat(80)

/** The start-up block: where things are, a key, and lines that work as printed. */
export function startBlock(started: Started): string {
  const { url, metricsUrl, upstreamUrl, sandboxUrl, key, store, hasOperators } = started
  const upstream = upstreamUrl
    ? `${upstreamUrl}, with your SEGMIND_API_KEY: misses are paid`
    : `the ${sandboxUrl ? `SANDBOX at ${sandboxUrl}` : 'built-in SANDBOX'}, without a SEGMIND_API_KEY: nothing is paid`
  return [
    '',
    RULE,
    `  segmind-gateway is ready on ${url}`,
    `  upstream   ${upstream}`,
    `  store      ${store}`,
    `  team key   ${key ? `${key}  (team demo)` : 'make one with: node dist/main.js keys create demo'}`,
    `  playground ${url}/   (paste the team key there)`,
    `  operators  ${hasOperators ? `${url}/dashboard` : 'set ADMIN_KEY to open /dashboard to them'}`,
    `  API docs   ${url}/docs`,
    `  metrics    ${metricsUrl}/metrics`,
    ...(key ? examples(started, key) : []),
    RULE,
    '',
  ].join('\n')
}

function examples({ url, photo }: Started, key: string): string[] {
  const curl = (name: string, selection: string) => [
    '',
    `  By ${name}:`,
    `  curl -sS --create-dirs -o demo-output/${name}.jpg -D - ${url}/segment -H 'x-api-key: ${key}' \\`,
    `    -F image=@${photo} -F '${selection}'`,
  ]
  return [...curl('prompt', 'prompt=the cup'), ...curl('point', 'coordinates=[[300,200]]')]
}
