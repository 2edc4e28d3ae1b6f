/** Facts shown in the terminal after a start. */
export interface Started {
  url: string
  metricsUrl: string
  /** URL of Segmind; undefined when the upstream is the sandbox. */
  upstreamUrl: string | undefined
  /** URL of a separate sandbox. */
  sandboxUrl: string | undefined
  /**
   * Key of the team created at the first start; undefined when it is no longer valid or the teams
   * were set up otherwise.
   */
  key: string | undefined
  /** Path of a sample photo, relative to the working directory. */
  photo: string
  store: string
  /** True when `ADMIN_KEY` is set. */
  hasOperators: boolean
}

const RULE = '─'.repeat(80)

/** Renders the start block: URLs, a key, and commands that work as printed. */
export function startBlock(started: Started): string {
  const { url, metricsUrl, upstreamUrl, sandboxUrl, key, store, hasOperators } = started
  const sandbox = sandboxUrl ? `SANDBOX at ${sandboxUrl}` : 'built-in SANDBOX'
  const upstream = upstreamUrl
    ? `${upstreamUrl}, with your SEGMIND_API_KEY: cache misses cost credits`
    : `the ${sandbox}, without a SEGMIND_API_KEY: nothing costs credits`
  return [
    '',
    RULE,
    `  segmind-gateway is ready on ${url}`,
    `  upstream   ${upstream}`,
    `  store      ${store}`,
    `  team key   ${key ? `${key}  (team demo)` : 'create one with: node dist/main.js keys create demo'}`,
    `  playground ${url}/   (paste the team key there)`,
    `  operators  ${hasOperators ? `${url}/dashboard` : 'set ADMIN_KEY to enable /dashboard'}`,
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
