import { settingsOf } from './read.js'
import type { Setting } from './setting.js'
import { SETTINGS, type SliceName } from './table.js'

const TITLES: Record<SliceName, string> = {
  server: 'Listening',
  segmind: 'Segmind',
  queue: 'Queue',
  store: 'Store',
  cache: 'Cache',
  images: 'Images',
  upload: 'Uploads',
  teams: 'Teams',
  credits: 'Credits',
  alerts: 'Alerts',
  log: 'Log',
  mode: 'Mode',
}

/** Variables that only `docker-compose.yml` reads. */
const COMPOSE = `# --- Only with docker compose ---

# Password of Grafana's \`admin\`. Applies to the first start of Grafana.
#GRAFANA_PASSWORD=admin

# Ports on this machine.
#GRAFANA_PORT=3000
#PROMETHEUS_PORT=9090
#ALERTMANAGER_PORT=9093

# Folder of the teams file, such as ./teams, writable by uid 1000. Default: a volume.
#TEAMS_DIR=teams
`

/** Renders `.env.example`: every setting, commented out, at its default. */
export function envExample(): string {
  const sections = sliceNames().map(
    slice => `# --- ${TITLES[slice]} ---\n\n${settings(slice).map(exampleOf).join('\n')}`,
  )
  const intro = '# Settings of segmind-gateway with their defaults. Remove the # to change one.\n'
  return `${intro}\n${sections.join('\n')}\n${COMPOSE}`
}

/** Renders the settings as a Markdown table, for docs/reference.md. */
export function settingsMarkdown(): string {
  const rows = sliceNames().flatMap(slice => settings(slice).map(rowOf))
  return `${['| name | default | accepted | |', '|---|---|---|---|', ...rows].join('\n')}\n`
}

const sliceNames = () => Object.keys(SETTINGS) as SliceName[]

const settings = (slice: SliceName) => settingsOf(slice).map(([, setting]) => setting)

function exampleOf({ name, form, default: written, secret, description }: Setting<unknown>): string {
  const file = secret ? `\n# Or ${name}_FILE: the path of a file that holds it.` : ''
  return `# ${description}\n# Accepts ${form.accepts}.${file}\n#${name}=${written ?? ''}\n`
}

function rowOf({ name, form, default: written, secret, description }: Setting<unknown>): string {
  const names = secret ? `\`${name}\` or \`${name}_FILE\`` : `\`${name}\``
  return `| ${names} | ${written === undefined ? '–' : `\`${written}\``} | ${form.accepts} | ${description} |`
}
