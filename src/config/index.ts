/**
 * All settings: name, default and bounds, in one slice for each part (docs/reference.md, Settings).
 */
export { envExample, settingsMarkdown } from './print.js'
export { isSettingsError } from './read.js'
export { Secret } from './secret.js'
export { loadSettings, loadSlices, type Settings, teamsFile } from './settings.js'
export { SETTINGS } from './table.js'
